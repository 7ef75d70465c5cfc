package serve

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// The minor version whose volumes this one opens besides its own: the one that upgrades are tested from. Update it with
// the module.
const before = "2.14"

// checkVersion refuses a volume that was opened by a newer server, whose files an older one may misread, and one of a
// server that is further behind than the version before. Afterwards the volume is this version's.
func checkVersion(directory, own string) error {
	file := filepath.Join(directory, "version")
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if found := strings.TrimSpace(string(text)); found != "" {
		theirs, err := minor(found)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		ours, err := minor(own)
		if err != nil {
			return err
		}
		oldest, err := minor(before)
		if err != nil {
			return err
		}
		switch {
		case theirs > ours:
			return fmt.Errorf("the volume was opened by NATS %s, and this is %s: an older server does not open the data of a "+
				"newer one. Go back to the image of %s, or restore a backup into an empty volume", found, own, found)
		case theirs < oldest:
			return fmt.Errorf("the volume was opened by NATS %s last, and this is %s, which takes over from %s at the earliest: "+
				"bring up %s first", found, own, before, before)
		case found == own:
			return nil
		}
		fmt.Fprintf(os.Stderr, "the volume of NATS %s is taken over by %s\n", found, own)
	}
	return replaceFile(file, []byte(own+"\n"))
}

// minor makes a number of a version's first two parts.
func minor(version string) (int, error) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0, fmt.Errorf("%.40q is no version", version)
	}
	first, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, fmt.Errorf("%.40q is no version", version)
	}
	second, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0, fmt.Errorf("%.40q is no version", version)
	}
	return first*1000 + second, nil
}

// Version is that of the NATS server in this program.
const Version = server.VERSION
