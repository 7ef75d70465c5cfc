// Object-storage serves the directory of one volume by the S3 protocol: the Versity S3 gateway as a library, with the
// options of the capability's program, behind the checks of the package confined. The administrator's keys are in
// ROOT_ACCESS_KEY and ROOT_SECRET_KEY. SIGHUP has it read its certificate again. `object-storage dump` and
// `object-storage restore` are clients of such a server, for backups.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"wecity.dev/object-storage/confined"
	"wecity.dev/object-storage/copying"
)

const module = "github.com/versity/versitygw"

// The exit code of a restore that has found objects where it was not to replace any.
const occupied = 3

func main() {
	log.SetFlags(0)
	do := run
	if len(os.Args) > 1 && (os.Args[1] == "dump" || os.Args[1] == "restore") {
		do = copied
	}
	err := do()
	if errors.Is(err, copying.ErrOccupied) {
		log.Print("object-storage: ", err)
		os.Exit(occupied)
	}
	if err != nil {
		log.Fatal("object-storage: ", err)
	}
}

// copied writes the objects of the bucket ACCOUNT to standard output, or makes those of standard input its objects. The
// server is at HOST and PORT, its administrator's password in ADMIN_PASSWORD, and AUTHORITY is the file with the
// certificates by which it is known. REPLACE=yes lets it replace objects.
func copied() error {
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	region := flags.String("region", "us-east-1", "region that signatures name")
	access := flags.String("access", "admin", "the administrator's access key")
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	client, err := copying.Client(copying.Server{
		Host: os.Getenv("HOST"), Port: os.Getenv("PORT"), Region: *region, Access: *access,
		Secret: os.Getenv("ADMIN_PASSWORD"), Authority: os.Getenv("AUTHORITY"),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	bucket := os.Getenv("ACCOUNT")
	if os.Args[1] == "dump" {
		return copying.Dump(ctx, client, bucket, os.Stdout)
	}
	return copying.Restore(ctx, client, bucket, os.Stdin, os.Getenv("REPLACE") == "yes")
}

func run() error {
	port := flag.String("port", ":7070", "`address` of the S3 protocol")
	adminPort := flag.String("admin-port", ":7071", "`address` of the administrator's interface")
	region := flag.String("region", "us-east-1", "region that signatures name")
	health := flag.String("health", "/health", "`path` that is answered without a signature")
	requests := flag.Int("max-requests", 100000, "requests served at a time")
	connections := flag.Int("max-connections", 250000, "connections open at a time")
	users := flag.String("iam-dir", "", "`directory` with the file of the users")
	certificate := flag.String("cert", "", "`file` with the certificate of both ports")
	key := flag.String("key", "", "`file` with the certificate's key")
	showVersion := flag.Bool("version", false, "print the gateway's version and end")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: object-storage [OPTION...] DIRECTORY")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *showVersion {
		fmt.Println(version())
		return nil
	}
	if flag.NArg() != 1 || *users == "" {
		flag.Usage()
		return fmt.Errorf("one directory and --iam-dir are needed")
	}
	// The backend makes the directory of the buckets the working directory.
	usersDirectory, err := filepath.Abs(*users)
	if err != nil {
		return err
	}
	config := &embedgw.Config{
		RootUserAccess:      os.Getenv("ROOT_ACCESS_KEY"),
		RootUserSecret:      os.Getenv("ROOT_SECRET_KEY"),
		Region:              *region,
		Ports:               []string{*port},
		AdminPorts:          []string{*adminPort},
		MaxConnections:      *connections,
		MaxRequests:         *requests,
		AdminMaxConnections: *connections,
		AdminMaxRequests:    *requests,
		MultipartMaxParts:   10000,
		CertFile:            *certificate,
		KeyFile:             *key,
		AdminCertFile:       *certificate,
		AdminKeyFile:        *key,
		Quiet:               true,
		// What an app says about others' rights to its objects is not heard.
		DisableACLs: true,
		HealthPath:  *health,
		IAMDir:      usersDirectory,
		// A cached account would be used for two minutes more after its secret changed or its key was deleted.
		IAMCacheDisable: true,
	}
	accounts, err := auth.New(config.IamOpts())
	if err != nil {
		return fmt.Errorf("open the users' file: %w", err)
	}
	config.IAMService = confined.Accounts(accounts, filepath.Join(usersDirectory, "users.json"))

	if err := (meta.XattrMeta{}).Test(flag.Arg(0)); err != nil {
		return fmt.Errorf("the volume needs extended attributes: %w", err)
	}
	options := posix.PosixOpts{
		Concurrency:         5000,
		IOBufferSize:        1024 * 1024,
		CopyObjectThreshold: 5 * 1024 * 1024 * 1024,
	}
	options.SetNewDirPerm(0o755)
	options.SetNewFilePerm(0o644)
	files, err := posix.New(flag.Arg(0), meta.XattrMeta{}, options)
	if err != nil {
		return fmt.Errorf("open the directory of the buckets: %w", err)
	}
	storage, err := confined.New(files)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	reload := make(chan struct{}, 1)
	go func() {
		for range hangUps {
			reload <- struct{}{}
		}
	}()
	config.SigHup = reload
	return embedgw.RunVersityGW(ctx, storage, config)
}

// version returns the version of the gateway's module in this program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, found := range info.Deps {
			if found.Path == module {
				return found.Version
			}
		}
	}
	return "unknown"
}
