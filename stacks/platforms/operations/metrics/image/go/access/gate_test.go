package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// served is the address of a real server behind a gate, which tells which client asks.
func served(t *testing.T, all, each int) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr)
	})}
	go func() { _ = server.Serve(&gate{Listener: listener, all: all, each: each}) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// open returns a connection of a client, 127.0.0.N, that has been answered once.
func open(t *testing.T, address string, client byte) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, client)}, Timeout: 5 * time.Second}
	made, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	if !answers(made) {
		t.Fatalf("a new connection of client %d is not answered", client)
	}
	return made
}

func answers(of net.Conn) bool {
	_ = of.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(of, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return false
	}
	count, err := of.Read(make([]byte, 4096))
	return err == nil && count > 0
}

func TestAClientLosesItsOldestConnectionAndNobodyElseAny(t *testing.T) {
	address := served(t, 100, 3)
	other := open(t, address, 2)
	var opened []net.Conn
	for range 5 {
		opened = append(opened, open(t, address, 3))
	}
	var kept []bool
	for _, item := range opened {
		kept = append(kept, answers(item))
	}
	if !slices.Equal(kept, []bool{false, false, true, true, true}) || !answers(other) {
		t.Error("connections that are kept, the oldest first:", kept)
	}
}

func TestWhoHasMostMakesRoomForOthers(t *testing.T) {
	address := served(t, 6, 6)
	var opened []net.Conn
	for range 5 {
		opened = append(opened, open(t, address, 2))
	}
	few := open(t, address, 3)
	late := open(t, address, 4)
	if answers(opened[0]) || !answers(opened[1]) || !answers(few) || !answers(late) {
		t.Error("a client that opens many keeps others out")
	}
	// What is closed makes room.
	for _, item := range opened {
		_ = item.Close()
	}
	time.Sleep(50 * time.Millisecond)
	for range 4 {
		open(t, address, 5)
	}
	if !answers(few) || !answers(late) {
		t.Error("connections that are closed are still counted")
	}
}
