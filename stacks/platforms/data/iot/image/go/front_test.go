package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func text(value string) []byte {
	return append([]byte{byte(len(value) >> 8), byte(len(value))}, value...)
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestPacketsAreReadAsTheyWereSent(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 16383, 16384, 200000} {
		sent := packet{typePublish << 4, make([]byte, size)}
		found, err := readPacket(bufio.NewReader(bytes.NewReader(sent.bytes())), packetBytes)
		if err != nil || found.first != sent.first || len(found.body) != size {
			t.Errorf("%d bytes: %d, %v", size, len(found.body), err)
		}
	}
}

func TestPacketsThatAreTooLargeOrNoneAreRefused(t *testing.T) {
	large := packet{typePublish << 4, make([]byte, 200)}.bytes()
	if _, err := readPacket(bufio.NewReader(bytes.NewReader(large)), 199); !errors.Is(err, errTooLarge) {
		t.Error(err)
	}
	for _, sent := range [][]byte{{}, {0x30}, {0x30, 0x80}, {0x30, 2, 1}, {0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if _, err := readPacket(bufio.NewReader(bytes.NewReader(sent)), packetBytes); err == nil {
			t.Errorf("%x is taken for a packet", sent)
		}
	}
}

// connects are bodies of CONNECT with a user and a password, by name.
func connects() map[string][]byte {
	who := joined(text("t.a.x"), text("secret"))
	three := joined(text("MQTT"), []byte{4, 0xc2, 0, 60}, text("me"), who)
	kept := joined(text("MQTT"), []byte{4, 0xc0, 0, 60}, text("me"), who)
	will := joined(text("MQTT"), []byte{4, 0xe6, 0, 60}, text("me"), text("t.a.x/gone"), text("bye"), who)
	properties := joined([]byte{0x11, 0, 0, 0, 9, 0x21, 0, 5, 0x26}, text("a"), text("b"))
	five := joined(text("MQTT"), []byte{5, 0xc2, 0, 60, byte(len(properties))}, properties, text("me"), who)
	none := joined(text("MQTT"), []byte{5, 0xc2, 0, 60, 0}, text(""), who)
	later := joined(
		text("MQTT"), []byte{5, 0xe6, 0, 60, 0}, text("me"), []byte{5, 0x18, 0, 0, 0, 9}, text("t.a.x/gone"), text("bye"), who)
	return map[string][]byte{"three": three, "kept": kept, "will": will, "five": five, "none": none, "later": later}
}

func TestConnectIsUnderstood(t *testing.T) {
	for name, body := range connects() {
		found, err := parseConnect(body)
		if err != nil || found.username != "t.a.x" {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		if kept := name == "kept" || name == "five"; found.kept != kept {
			t.Errorf("%s: kept is %v", name, found.kept)
		}
		if will := name == "will" || name == "later"; will != (found.will != nil) ||
			will && *found.will != (publishing{topic: "t.a.x/gone", payload: 3}) {
			t.Errorf("%s: the will is %v", name, found.will)
		}
		if !bytes.Equal(found.named(0x10, found.client).body, body) {
			t.Errorf("%s: another packet with the same name", name)
		}
		again, err := parseConnect(found.named(0x10, "t.a.x:me").body)
		if err != nil || again.client != "t.a.x:me" || again.username != "t.a.x" {
			t.Errorf("%s: renamed, it is %+v, %v", name, again, err)
		}
	}
}

func TestNoPartOfAConnectIsTakenForOne(t *testing.T) {
	for name, body := range connects() {
		for length := range body {
			found, err := parseConnect(body[:length])
			// The password comes last, and is not read.
			if err == nil && (found.username != "t.a.x" || length < len(body)-len(text("secret"))) {
				t.Errorf("%s: %d of %d bytes are taken for %+v", name, length, len(body), found)
			}
		}
	}
}

func TestABridgeIsRecognised(t *testing.T) {
	for version, five := range map[byte]bool{0x83: false, 0x84: false, 0x85: true} {
		body := joined(text("MQTT"), []byte{version, 2, 0, 60})
		if five {
			body = append(body, 0)
		}
		found, err := parseConnect(append(body, text("b")...))
		if err != nil || !found.bridge || found.version != version&0x7f {
			t.Errorf("%x: %+v, %v", version, found, err)
		}
	}
}

func TestPublishIsUnderstood(t *testing.T) {
	plain := packet{0x31, joined(text("a/b"), []byte("12345"))}
	if found, err := parsePublish(plain, 4); err != nil || found != (publishing{"a/b", 0, 5}) || !plain.retained() {
		t.Errorf("%+v, %v", found, err)
	}
	sure := packet{0x32, joined(text("a/b"), []byte{0, 7, 2, 0x01, 1}, []byte("12345"))}
	if found, err := parsePublish(sure, 5); err != nil || found != (publishing{"a/b", 7, 5}) || sure.qos() != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestWhoMayPublishWhere(t *testing.T) {
	for topic, may := range map[string][2]bool{
		"t.a.x": {true, false}, "t.a.x/y": {true, false}, "t.a.xy": {false, false}, "t.b.x/y": {false, false},
		"t.a.x/devices/lamp": {true, true}, "t.a.x/devices/lamp/z": {true, true}, "t.a.x/devices/lamp2/z": {true, false},
		"t.a.x/registry/lamp": {true, false}, "": {false, false},
	} {
		if found := [2]bool{mayPublish("t.a.x", topic), mayPublish("t.a.x/lamp", topic)}; found != may {
			t.Errorf("%q: %v", topic, found)
		}
	}
}

// held is an account with room for two small retained messages and two connections.
func held(t *testing.T) *accounts {
	t.Helper()
	a := newAccounts("", "", 3, 2*retainedSize("t.a.x/1", 10))
	a.there = map[string]bool{"t.a.x": true}
	a.get("t.a.x").connections = 2
	return a
}

func TestRetainedMessagesHaveRoomUntilTheLimit(t *testing.T) {
	a := held(t)
	for _, step := range []struct {
		topic   string
		payload int
		fits    bool
	}{
		{"t.a.x/1", 10, true}, {"t.a.x/2", 10, true}, {"t.a.x/3", 1, false}, {"t.a.x/1", 10, true}, {"t.a.x/1", 11, false},
		{"t.a.x/1", 9, true}, {"t.a.x/1", 10, true}, {"t.a.x/3", 0, true}, {"t.a.x/2", 0, true}, {"t.a.x/3", 10, true},
	} {
		if a.retainFor("t.a.x", step.topic, step.payload) != step.fits {
			t.Errorf("%+v", step)
		}
	}
	if found := a.get("t.a.x").retainedBytes; found != 2*retainedSize("t.a.x/1", 10) {
		t.Error(found)
	}
}

func TestWhatTheServerNoLongerRetainsIsForgotten(t *testing.T) {
	a := held(t)
	a.retainFor("t.a.x", "t.a.x/1", 10)
	a.retainFor("t.a.x", "t.a.x/2", 10)
	names := a.begin()
	a.found("t.a.x/2", 10)
	a.found("nobody/2", 10)
	a.end(names)
	if one := a.get("t.a.x"); len(one.retained) != 1 || one.retainedBytes != retainedSize("t.a.x/2", 10) {
		t.Errorf("%+v", one)
	}
	if a.known["nobody"] != nil {
		t.Error("an account that is not there is known")
	}
}

func TestAWillIsCountedAsLongAsItsClientMayHaveIt(t *testing.T) {
	a := held(t)
	will := &publishing{topic: "t.a.x/1", payload: 10}
	a.users = filepath.Join(t.TempDir(), "users.json")
	known := `{"clients": [{"username": "t.a.x", "textdescription": "connections=2"}, {"username": "t.a.x/lamp"}]}`
	if err := os.WriteFile(a.users, []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if why := a.enter("t.a.x", "", false, will); why != "" {
			t.Fatal(why)
		}
		a.end(a.begin())
		if found := a.get("t.a.x").retainedBytes; found != retainedSize("t.a.x/1", 10) {
			t.Error(found)
		}
		a.leave("t.a.x", "", will)
	}
	a.end(a.begin())
	if one := a.get("t.a.x"); one.retainedBytes != 0 || one.open != 0 || a.open != 0 {
		t.Errorf("%+v", one)
	}
}

func TestSessionsAreAsManyAsConnections(t *testing.T) {
	a := held(t)
	for _, step := range []struct {
		session string
		kept    bool
		refused string
	}{
		{"t.a.x:1", true, ""}, {"t.a.x:2", true, ""}, {"t.a.x:3", true, "sessions are kept"}, {"t.a.x:3", false, ""},
		{"t.a.x:2", true, ""}, {"t.a.x:1", false, ""}, {"t.a.x:3", true, ""},
	} {
		if why := a.keep("t.a.x", step.session, step.kept, 2); why == "" != (step.refused == "") || !strings.Contains(why, step.refused) {
			t.Errorf("%+v: %q", step, why)
		}
	}
	a.sessions["t.a.x"]["t.a.x:2"] = time.Now().Add(-sessionTime - time.Hour)
	if why := a.keep("t.a.x", "t.a.x:4", true, 2); why != "" {
		t.Error(why)
	}
	a.there["t.a.x"] = false
	if left := a.left(); len(left) != 2 {
		t.Error(left)
	}
}

func TestWhoSendsMoreThanItsShareWaits(t *testing.T) {
	a := held(t)
	for range tokensAtOnce {
		if pause := a.pause("t.a.x", 1); pause != 0 {
			t.Fatal(pause)
		}
	}
	if pause := a.pause("t.a.x", 5*tokensPerSecond); pause < 3*time.Second || pause > 5*time.Second {
		t.Error(pause)
	}
	if pause := a.pause("t.b.x", 1) + a.pause(administrator, 10*tokensAtOnce); pause != 0 {
		t.Error(pause)
	}
}

func TestAccountsAreOfTheirOwners(t *testing.T) {
	long := strings.Repeat("a", 70) + "/b/c"
	for _, step := range []struct {
		account, owner string
		is             bool
	}{
		{"t.a.x", "t/a/x", true}, {"t.a.x", "-", true}, {"t.a.x", "t/b/x", false}, {"t.a.x", "t/a/x/y", false},
		{strings.Repeat("a", 54) + "-12345678", long, true}, {strings.Repeat("b", 54) + "-12345678", long, false},
		{"-12345678", long, false}, {"", long, false},
	} {
		if isOf(step.account, step.owner) != step.is {
			t.Errorf("%+v", step)
		}
	}
}

func TestPasswordsOfDevicesDifferAndComeAgain(t *testing.T) {
	first := devicePassword("key", "lamp", 1)
	if len(first) != 43 || first != devicePassword("key", "lamp", 1) {
		t.Error(first)
	}
	for _, other := range []string{devicePassword("key", "lamp", 2), devicePassword("key", "lam", 1), devicePassword("kez", "lamp", 1)} {
		if other == first {
			t.Error(other)
		}
	}
}
