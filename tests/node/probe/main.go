// Probe is what the node's tests run in pods: an HTTP server that tells who asked, and small clients for exec.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: probe pause|serve|get|dial|ping|resolve|write|read|burn|spawn|watch")
	}
	command, arguments := os.Args[1], os.Args[2:]
	var err error
	switch command {
	case "pause":
		pause()
	case "serve":
		err = serve(arguments[0])
	case "get":
		err = get(arguments[0])
	case "dial":
		err = dial(arguments[0])
	case "ping":
		err = ping(arguments[0])
	case "resolve":
		err = resolve(arguments[0])
	case "write":
		err = os.WriteFile(arguments[0], []byte(arguments[1]), 0o640)
	case "read":
		err = read(arguments[0])
	case "burn":
		burn()
	case "spawn":
		spawn()
	case "watch":
		watch()
		pause()
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
}

func serve(address string) error {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, _ := os.Hostname()
		fmt.Fprintf(w, "pod=%s from=%s host=%s\n", name, strings.Split(r.RemoteAddr, ":")[0], r.Host)
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	server := &http.Server{Addr: address}
	go func() {
		<-signals
		fmt.Println("told to stop")
		_ = server.Shutdown(context.Background())
		os.Exit(0)
	}()
	fmt.Println("serving on", address)
	return server.ListenAndServe()
}

func get(url string) error {
	client := http.Client{Timeout: 3 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func dial(address string) error {
	connection, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return err
	}
	fmt.Println("connected")
	return connection.Close()
}

func ping(address string) error {
	connection, err := net.DialTimeout("ip4:icmp", address, 2*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	// An echo request and its checksum.
	if _, err = connection.Write([]byte{8, 0, 0xF7, 0xFD, 0, 1, 0, 1}); err != nil {
		return err
	}
	if err = connection.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err = connection.Read(make([]byte, 100)); err != nil {
		return err
	}
	fmt.Println("answered")
	return nil
}

func resolve(name string) error {
	addresses, err := net.LookupHost(name)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(addresses, " "))
	return nil
}

func read(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(data)
	return err
}

// spawn starts threads until the kernel gives no more: the runtime ends then, and says how many there were.
func spawn() {
	for range 9000 {
		go func() {
			runtime.LockOSThread()
			select {}
		}()
		time.Sleep(20 * time.Microsecond)
	}
	fmt.Println("nobody stopped it")
}

// watch opens inotify instances until the kernel gives no more, and keeps them.
func watch() {
	opened := 0
	for {
		if _, err := syscall.InotifyInit1(0); err != nil {
			fmt.Println("opened", opened, err)
			return
		}
		opened++
	}
}

func burn() {
	for until := time.Now().Add(10 * time.Minute); time.Now().Before(until); {
	}
}
