// Command workflow runs Flowable's process engine, and lets apps to it: each with an account of its own, to what is its own.
//
// The engine is a child process on the loopback interface. Accounts are made, locked and deleted on a port of their own,
// which apps do not reach. The administrator's password comes from the environment, so that no command line has it.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Connections at a time: of all clients, and of one.
const allConnections, clientConnections = 512, 128

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", ":8080", "address for apps")
	admin := flag.String("admin", ":8081", "address for the administration of accounts, and for metrics")
	binding := flag.String("database", "/bindings/db", "directory of the binding of the database")
	port := flag.Int("engine-port", 18080, "port of the engine on the loopback interface")
	heap := flag.Int("heap", 256, "size of Java's heap in MiB")
	connections := flag.Int("connections", 16, "connections to the database, of the engine and of this program")
	certificate := flag.String("certificate", "", "file with the certificate chain; without it, connections are plain")
	key := flag.String("key", "", "file with the private key")
	flag.Parse()

	password := os.Getenv("ADMIN_PASSWORD")
	if password == "" {
		log.Fatal("ADMIN_PASSWORD is empty")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	bound, err := readBinding(*binding)
	if err != nil {
		log.Fatalf("database: %v", err)
	}
	child := runEngine(ctx, bound, *port, *heap, max(*connections-poolSize, 1))
	store, err := openStore(ctx, bound.address())
	if err != nil {
		log.Fatalf("accounts: %v", err)
	}
	door := &door{store: store, engine: openEngine(*port), admin: digestOf(password), running: map[string]int{}, counters: map[[3]string]int64{}}
	go door.measureOften(ctx)
	var settings *tls.Config
	if *certificate != "" {
		loader := &loader{certificate: *certificate, key: *key}
		if _, err := loader.get(nil); err != nil {
			log.Fatalf("certificate: %v", err)
		}
		settings = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	}
	var group sync.WaitGroup
	for address, handler := range map[string]http.Handler{*listen: door.public(), *admin: door.administration()} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			log.Fatal(err)
		}
		server := &http.Server{
			Handler:           handler,
			TLSConfig:         settings,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       time.Minute,
			WriteTimeout:      3 * time.Minute,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    32 << 10,
		}
		listener = &gate{Listener: listener, all: allConnections, each: clientConnections}
		group.Add(2)
		go func() {
			defer group.Done()
			run := func() error { return server.Serve(listener) }
			if settings != nil {
				run = func() error { return server.ServeTLS(listener, "", "") }
			}
			if err := run(); err != http.ErrServerClosed {
				log.Fatalf("%s: %v", address, err)
			}
		}()
		go func() {
			// Serving ends at once, and this when the requests have ended that run.
			defer group.Done()
			<-ctx.Done()
			ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = server.Shutdown(ending)
		}()
	}
	group.Wait()
	child.stop()
}

// child is the engine's process; ended is closed when it is over.
type child struct {
	process *os.Process
	ended   chan struct{}
}

func (c *child) stop() {
	_ = c.process.Signal(syscall.SIGTERM)
	<-c.ended
}

// runEngine starts the engine. If it ends by itself, so does this program, and the pod starts both anew.
func runEngine(ctx context.Context, bound bound, port, heap, connections int) *child {
	java := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	command := exec.Command(java, "-Xms32m", "-Xmx"+strconv.Itoa(heap)+"m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
		"-Djava.io.tmpdir=/tmp", "-cp", "/opt/workflow/*", "org.springframework.boot.SpringApplication",
		"--spring.main.sources=file:/etc/workflow/engine.xml", "--spring.config.location=file:/etc/workflow/engine.properties",
		"--server.port="+strconv.Itoa(port), "--spring.datasource.hikari.maximum-pool-size="+strconv.Itoa(connections))
	command.Env = append(os.Environ(), "ADMIN_PASSWORD=", "SPRING_DATASOURCE_URL="+bound.java(),
		"SPRING_DATASOURCE_USERNAME="+bound.user, "SPRING_DATASOURCE_PASSWORD="+bound.password)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		log.Fatalf("engine: %v", err)
	}
	made := &child{command.Process, make(chan struct{})}
	go func() {
		err := command.Wait()
		// Whoever ends this program may end its whole group.
		if ctx.Err() == nil {
			log.Fatalf("the engine has ended: %v", err)
		}
		close(made.ended)
	}()
	return made
}

// measureOften counts what accounts take: each minute, or more seldom where it takes long, as all rows are read. The
// engine's tables are there once it is ready.
func (d *door) measureOften(ctx context.Context) {
	for {
		began := time.Now()
		pause := 5 * time.Second
		if d.store.measure(ctx) == nil {
			pause = max(time.Minute, 20*time.Since(began))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
