package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Types of packets, the upper half of the first byte. Source: MQTT 5.0, 2.1.2.
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typePubrec     = 5
	typeSubscribe  = 8
	typeUnsub      = 10
	typeDisconnect = 14
)

// Reason codes of MQTT 5. Source: MQTT 5.0, 2.4.
const (
	reasonVersion       = 0x84
	reasonIdentifier    = 0x85
	reasonUnavailable   = 0x88
	reasonTooLarge      = 0x95
	reasonQuotaExceeded = 0x97
)

// Codes of a refused connection before MQTT 5. Source: MQTT 3.1.1, 3.2.2.3.
const (
	refusedVersion     = 0x01
	refusedIdentifier  = 0x02
	refusedUnavailable = 0x03
)

const versionFive = 5

// A server that connects as a bridge sets this bit of the version, and is not asked for it once it was refused.
// Source: mosquitto.conf(5), try_private.
const bridgeBit = 0x80

// The identifier of the property that says for how many seconds a session is kept. Source: MQTT 5.0, 3.1.2.11.2.
const propertySessionExpiry = 0x11

var (
	errTooLarge  = errors.New("the packet is larger than what is allowed")
	errMalformed = errors.New("the packet is malformed")
)

// packet is one control packet: its first byte, and what follows the length.
type packet struct {
	first byte
	body  []byte
}

func (p packet) kind() byte { return p.first >> 4 }

// qos is the quality of service of a PUBLISH.
func (p packet) qos() byte { return p.first >> 1 & 3 }

// retained is whether a PUBLISH is to be retained.
func (p packet) retained() bool { return p.first&1 == 1 }

// bytes is the packet as it is sent.
func (p packet) bytes() []byte {
	sent := append(make([]byte, 0, len(p.body)+5), p.first)
	sent = appendLength(sent, len(p.body))
	return append(sent, p.body...)
}

// readPacket reads one packet whose body has at most `most` bytes.
func readPacket(source *bufio.Reader, most int) (packet, error) {
	first, err := source.ReadByte()
	if err != nil {
		return packet{}, err
	}
	length, shift := 0, 0
	for {
		digit, err := source.ReadByte()
		if err != nil {
			return packet{}, err
		}
		length |= int(digit&0x7f) << shift
		if digit&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			return packet{}, errMalformed
		}
	}
	if length > most {
		return packet{first: first}, errTooLarge
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(source, body); err != nil {
		return packet{}, err
	}
	return packet{first, body}, nil
}

func appendLength(target []byte, length int) []byte {
	for {
		digit := byte(length & 0x7f)
		if length >>= 7; length == 0 {
			return append(target, digit)
		}
		target = append(target, digit|0x80)
	}
}

// fields reads what a packet consists of; after the first error all that it returns is empty.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) take(length int) []byte {
	if f.err != nil || length > len(f.rest) {
		f.err = errMalformed
		return nil
	}
	taken := f.rest[:length]
	f.rest = f.rest[length:]
	return taken
}

func (f *fields) byte() byte {
	if taken := f.take(1); taken != nil {
		return taken[0]
	}
	return 0
}

func (f *fields) number() int {
	if taken := f.take(2); taken != nil {
		return int(binary.BigEndian.Uint16(taken))
	}
	return 0
}

func (f *fields) text() []byte { return f.take(f.number()) }

// length reads a variable byte integer.
func (f *fields) length() int {
	found := 0
	for shift := 0; shift <= 21; shift += 7 {
		digit := f.byte()
		found |= int(digit&0x7f) << shift
		if digit&0x80 == 0 {
			return found
		}
	}
	f.err = errMalformed
	return 0
}

// connecting is what the front has to know of a CONNECT.
type connecting struct {
	version  byte
	username string
	client   string
	// Whether the server keeps the session when the connection ends.
	kept   bool
	bridge bool
	// The message that the server publishes for a client that has gone, if that is to be retained.
	will *publishing
	// What stands before and after the client's identifier.
	before, after []byte
}

// parseConnect reads the body of a CONNECT. Source: MQTT 5.0, 3.1; MQTT 3.1.1, 3.1.
func parseConnect(body []byte) (connecting, error) {
	f := &fields{rest: body}
	if name := string(f.text()); f.err == nil && name != "MQTT" && name != "MQIsdp" {
		return connecting{}, fmt.Errorf("%w: it is not of MQTT", errMalformed)
	}
	version := f.byte()
	found := connecting{version: version &^ bridgeBit, bridge: version&bridgeBit != 0}
	flags := f.byte()
	f.number()
	found.kept = flags&0x02 == 0
	if found.version >= versionFive {
		expiry, err := sessionExpiry(f)
		if err != nil {
			return connecting{}, err
		}
		found.kept = expiry > 0
	}
	found.before = body[:len(body)-len(f.rest)]
	found.client = string(f.text())
	found.after = f.rest
	if flags&0x04 != 0 {
		if found.version >= versionFive {
			f.take(f.length())
		}
		will := publishing{topic: string(f.text()), payload: len(f.text())}
		if flags&0x20 != 0 {
			found.will = &will
		}
	}
	if flags&0x80 != 0 {
		found.username = string(f.text())
	}
	return found, f.err
}

// sessionExpiry reads the properties of a CONNECT, and returns the seconds for which the session is kept.
func sessionExpiry(f *fields) (uint32, error) {
	properties := &fields{rest: f.take(f.length())}
	expiry := uint32(0)
	for f.err == nil && properties.err == nil && len(properties.rest) > 0 {
		switch identifier := properties.byte(); identifier {
		case propertySessionExpiry:
			if taken := properties.take(4); taken != nil {
				expiry = binary.BigEndian.Uint32(taken)
			}
		case 0x27: // maximum packet size
			properties.take(4)
		case 0x21, 0x22: // receive maximum, topic alias maximum
			properties.take(2)
		case 0x17, 0x19: // request problem and response information
			properties.take(1)
		case 0x26: // user property
			properties.text()
			properties.text()
		case 0x15, 0x16: // authentication method and data
			properties.text()
		default:
			return 0, fmt.Errorf("%w: property %#x of CONNECT", errMalformed, identifier)
		}
	}
	return expiry, errors.Join(f.err, properties.err)
}

// named is the packet with another identifier of the client.
func (c connecting) named(first byte, client string) packet {
	body := make([]byte, 0, len(c.before)+len(client)+2+len(c.after))
	body = append(body, c.before...)
	body = binary.BigEndian.AppendUint16(body, uint16(len(client)))
	body = append(body, client...)
	return packet{first, append(body, c.after...)}
}

// publishing is what the front has to know of a PUBLISH.
type publishing struct {
	topic      string
	identifier int
	payload    int
}

// parsePublish reads a PUBLISH. Source: MQTT 5.0, 3.3.
func parsePublish(p packet, version byte) (publishing, error) {
	f := &fields{rest: p.body}
	found := publishing{topic: string(f.text())}
	if p.qos() > 0 {
		found.identifier = f.number()
	}
	if version >= versionFive {
		f.take(f.length())
	}
	found.payload = len(f.rest)
	return found, f.err
}

// refusal is the CONNACK that refuses a connection, by a reason of MQTT 5 or a code of the versions before.
func refusal(version byte, reason, code byte) packet {
	if version >= versionFive {
		return packet{typeConnack << 4, []byte{0, reason, 0}}
	}
	return packet{typeConnack << 4, []byte{0, code}}
}

// unacknowledged answers a PUBLISH of MQTT 5 that the server did not take.
func unacknowledged(p packet, identifier int, reason byte) packet {
	kind := byte(typePuback)
	if p.qos() == 2 {
		kind = typePubrec
	}
	return packet{kind << 4, append(binary.BigEndian.AppendUint16(nil, uint16(identifier)), reason)}
}

// disconnection is a DISCONNECT with a reason of MQTT 5.
func disconnection(reason byte) packet {
	return packet{typeDisconnect << 4, []byte{reason, 0}}
}
