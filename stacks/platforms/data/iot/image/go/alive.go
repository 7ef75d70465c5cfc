package main

import (
	"bufio"
	"fmt"
	"net"
	"time"
)

// A CONNECT of MQTT 3.1.1 without a name, a user and a password.
var anonymous = packet{typeConnect << 4, []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 10, 0, 0}}

// alive is whether the server at an address answers, be it with a refusal.
func alive(where string) error {
	server, err := net.DialTimeout("tcp", where, connectTime)
	if err != nil {
		return err
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(connectTime))
	if _, err := server.Write(anonymous.bytes()); err != nil {
		return err
	}
	answered, err := readPacket(bufio.NewReader(server), packetBytes)
	if err == nil && answered.kind() != typeConnack {
		err = fmt.Errorf("a CONNECT is answered by a packet of type %d", answered.kind())
	}
	return err
}
