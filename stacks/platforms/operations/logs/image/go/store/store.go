// Package store serves VictoriaLogs as a library. It adds what the server itself does not have: an account for each
// use, which reads the logs of its tenant only, and a status that says what is kept. Nothing but the paths that the
// guard names reaches the server's handlers.
package store

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert/insertutil"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert/jsonline"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlselect"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"
	"github.com/VictoriaMetrics/metrics"
)

const module = "github.com/VictoriaMetrics/VictoriaLogs"

// Connections at a time: of all clients, and of one. A shipper has a few, and there is one on each node.
const allConnections, clientConnections = 512, 64

type settings struct {
	address, metrics, data, certificate, key string
	days                                     int
	limit, memory                            int64
}

// Run serves until the context ends. The administrator's password is in ADMIN_PASSWORD.
func Run(ctx context.Context, arguments []string) error {
	settings, err := parse(arguments)
	if err != nil {
		return err
	}
	admin := os.Getenv("ADMIN_PASSWORD")
	if admin == "" {
		return errors.New("ADMIN_PASSWORD is needed")
	}
	listener, err := listen(settings, settings.address)
	if err != nil {
		return err
	}
	observed, err := listen(settings, settings.metrics)
	if err != nil {
		return err
	}
	handler, stop, err := open(settings, admin)
	if err != nil {
		return err
	}
	defer stop()
	go func() { _ = serve(ctx, serverOf(figuresPage(settings.data, handler.shippers)), observed) }()
	return serve(ctx, serverOf(handler), listener)
}

func serverOf(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    2 * queryBytes,
	}
}

// figuresPage tells what the server measures, how full its volume is, and what it hears of shippers, to everybody who
// reaches the port.
func figuresPage(data string, heard *shippers) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, volumeLines(data)+heard.figures(time.Now().Unix()))
		metrics.WritePrometheus(w, true)
	})
	return mux
}

// Open starts a store of this directory, of which there is one in a process, and returns what serves it and a function
// that writes what is in memory and closes it.
func Open(data string, days int, password string) (http.Handler, func(), error) {
	made, stop, err := open(settings{data: data, days: days}, password)
	if err != nil {
		return nil, nil, err
	}
	return made, stop, nil
}

func open(settings settings, password string) (*guard, func(), error) {
	if err := configure(settings); err != nil {
		return nil, nil, err
	}
	known, err := openAccounts(filepath.Join(settings.data, "accounts.json"))
	if err != nil {
		return nil, nil, err
	}
	vlstorage.Init()
	vlselect.Init()
	insertutil.SetLogRowsStorage(&vlstorage.Storage{})
	began(settings.data)
	made := newGuard(settings, known, password)
	var left []string
	if made.marks, left, err = openMarks(filepath.Join(settings.data, "asking")); err != nil {
		return nil, nil, err
	}
	for _, tenant := range left {
		log.Printf("the server has ended while it answered a question of %s", tenant)
		made.breaker.strike(tenant)
	}
	return made, func() {
		made.marks.clear()
		vlselect.Stop()
		vlstorage.Stop()
	}, nil
}

func newGuard(settings settings, known *accounts, password string) *guard {
	heard := &shippers{known: map[string]Report{}}
	identity := make([]byte, 8)
	_, _ = rand.Read(identity)
	return &guard{
		admin:    digest(password),
		shipper:  digest(ShipperPassword(password)),
		accounts: known,
		shippers: heard,
		instance: hex.EncodeToString(identity),
		selects: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !vlselect.RequestHandler(w, r) {
				http.Error(w, "not found", http.StatusNotFound)
			}
		}),
		inserts: http.HandlerFunc(jsonline.RequestHandler),
		status:  func() any { return statusOf(settings, heard) },
		asking:  map[string]int64{},
		breaker: newBreaker(filepath.Join(settings.data, "struck.json")),
	}
}

func parse(arguments []string) (settings, error) {
	var found settings
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	flags.StringVar(&found.address, "listen", ":9428", "`address` to serve at")
	flags.StringVar(&found.metrics, "metrics", ":9429", "`address` to tell figures at")
	flags.StringVar(&found.data, "data", "/data", "`directory` of the volume")
	flags.StringVar(&found.certificate, "cert", "", "`file` with the certificate chain")
	flags.StringVar(&found.key, "key", "", "`file` with the certificate's key")
	flags.IntVar(&found.days, "retention-days", 180, "days that logs are kept")
	flags.Int64Var(&found.limit, "limit-bytes", 0, "`bytes` of logs above which the oldest day is dropped (0: none)")
	flags.Int64Var(&found.memory, "memory-bytes", 0, "`bytes` of memory for caches and queries (0: the server's choice)")
	err := flags.Parse(arguments)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return found, err
}

// configure sets the server's own options, which are flags of its packages.
func configure(settings settings) error {
	options := map[string]string{
		"storageDataPath": settings.data,
		"retentionPeriod": strconv.Itoa(settings.days) + "d",
		// Room for what merges write before they free what they have read.
		"storage.minFreeDiskSpaceBytes":    "64MiB",
		"retention.maxDiskSpaceUsageBytes": strconv.FormatInt(settings.limit, 10),
		"inmemoryDataFlushInterval":        "2s",
		"insert.maxLineSizeBytes":          "512KiB",
		// An empty line is stored as one.
		"defaultMsgValue":              "",
		"search.maxQueryDuration":      "30s",
		"search.maxConcurrentRequests": "8",
		"http.disableCORS":             "true",
		"loggerFormat":                 "json",
		"loggerErrorsPerSecondLimit":   "10",
		"loggerWarnsPerSecondLimit":    "10",
	}
	if settings.memory > 0 {
		options["memory.allowedBytes"] = strconv.FormatInt(settings.memory, 10)
	}
	// The packages' flags are those of the process; nothing of its own command line is among them.
	if !flag.Parsed() {
		if err := flag.CommandLine.Parse(nil); err != nil {
			return err
		}
	}
	for name, value := range options {
		if err := flag.Set(name, value); err != nil {
			return fmt.Errorf("option %s of the server: %w", name, err)
		}
	}
	logger.Init()
	return nil
}

func serve(ctx context.Context, server *http.Server, listener net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server.Shutdown(ending) != nil {
		// Those who follow logs never end by themselves.
		_ = server.Close()
	}
	return nil
}

func listen(settings settings, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	listener = &gate{Listener: listener, all: allConnections, each: clientConnections}
	if settings.certificate == "" {
		return listener, nil
	}
	files := &certificate{settings: settings}
	if _, err := files.current(nil); err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: files.current,
		NextProtos:     []string{"http/1.1"},
	}), nil
}

// A certificate is read again at most every ten seconds, so that a renewed one needs no restart.
type certificate struct {
	settings settings
	mutex    sync.Mutex
	read     time.Time
	found    *tls.Certificate
}

func (c *certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.found != nil && time.Since(c.read) < 10*time.Second {
		return c.found, nil
	}
	made, err := tls.LoadX509KeyPair(c.settings.certificate, c.settings.key)
	if err != nil {
		// Files that change are read again later; the certificate of before holds.
		if c.found != nil {
			return c.found, nil
		}
		return nil, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	c.found, c.read = &made, time.Now()
	return c.found, nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, item := range info.Deps {
			if item.Path == module {
				return strings.TrimPrefix(item.Version, "v")
			}
		}
	}
	return "unknown"
}
