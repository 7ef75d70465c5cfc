// Feeds journals to the engine's own replayer. Each line of the input is {"base": deployment or null, "entries": [...]};
// each line of the output is what came of it: {"version", "features", "deployment", "flaw"}, or {"error"}. The flaw is why
// the engine would refuse that state; empty for a sound one.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/pulumi/pulumi/pkg/v3/backend"
	"github.com/pulumi/pulumi/pkg/v3/resource/stack/snapshot"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

type journal struct {
	Base    *apitype.DeploymentV3  `json:"base"`
	Entries []apitype.JournalEntry `json:"entries"`
}

func replay(line []byte) (found any, failed error) {
	defer func() {
		if reason := recover(); reason != nil {
			found, failed = nil, fmt.Errorf("panic: %v", reason)
		}
	}()
	var given journal
	if err := json.Unmarshal(line, &given); err != nil {
		return nil, err
	}
	if given.Base == nil {
		given.Base = &apitype.DeploymentV3{}
	}
	replayer := backend.NewJournalReplayer(given.Base)
	for _, entry := range given.Entries {
		if err := replayer.Add(entry); err != nil {
			return nil, err
		}
	}
	state, err := replayer.GenerateDeployment()
	if err != nil {
		return nil, err
	}
	flaw := ""
	if err := snapshot.VerifyIntegrity(state.Deployment); err != nil {
		flaw = err.Error()
	}
	return map[string]any{
		"version": state.Version, "features": state.Features, "deployment": state.Deployment, "flaw": flaw,
	}, nil
}

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := json.NewEncoder(os.Stdout)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		found, failed := replay(line)
		if failed != nil {
			found = map[string]any{"error": failed.Error()}
		}
		if err := output.Encode(found); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
