package serve

import (
	"context"
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

func TestPausesGrowToAnHour(t *testing.T) {
	for tries, want := range map[int]time.Duration{
		1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 9: 2560 * time.Second, 10: time.Hour, 1000: time.Hour,
	} {
		if found := pauseAfter(10*time.Second, tries); found != want {
			t.Errorf("%d: %s", tries, found)
		}
	}
}

func TestOnlyWhatTheRelaySaysOfTheMessageIsPermanent(t *testing.T) {
	for code, want := range map[int]bool{450: false, 451: false, 550: true, 552: true} {
		if found := isPermanent(refusedForGood("x", &textproto.Error{Code: code, Msg: "no"})); found != want {
			t.Errorf("%d: %t", code, found)
		}
	}
	if isPermanent(refusedForGood("x", errors.New("reset"))) {
		t.Error("a broken connection is permanent")
	}
}

func TestAChannelLeadsToNoAddressOfItsSurroundings(t *testing.T) {
	dialed := ""
	made := &line{host: "relay.example", port: 587, addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.0/24")}}
	made.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialed = address
		return nil, errors.New("nobody is there")
	}
	for address, want := range map[string]string{
		"127.0.0.1": "surroundings", "169.254.169.254": "surroundings", "10.9.0.1": "no address of the internet",
		"::ffff:127.0.0.1": "surroundings", "10.8.0.7": "nobody is there", "8.8.8.8": "nobody is there",
	} {
		dialed = ""
		made.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(address)}, nil
		}
		_, err := made.connect(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || (want == "nobody is there") != (dialed != "") {
			t.Errorf("%s: %v, dialed %q", address, err, dialed)
		}
	}
}

func TestAMailIsWhatAReaderExpects(t *testing.T) {
	item := &message{ID: "abc", To: "ann@example.org", Subject: "游园 " + strings.Repeat("通知", 40), Text: strings.Repeat("您好。\n", 40)}
	text := string((&relay{sender: "city@example.org"}).compose(item))
	found, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if found.Header.Get("Message-ID") != "<abc@example.org>" || found.Header.Get("To") != "<ann@example.org>" {
		t.Error(found.Header)
	}
	for _, line := range strings.Split(text, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
}

func TestRequestsOfAnAccountWaitForEachOtherAlone(t *testing.T) {
	made := newTurns()
	first, second := made.take(t.Context(), "a"), made.take(t.Context(), "a")
	within, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if made.take(within, "a") != nil {
		t.Error("a third one is let in")
	}
	made.take(t.Context(), "b")()
	first()
	made.take(t.Context(), "a")()
	second()
	if len(made.open) != 0 {
		t.Errorf("%d accounts are kept", len(made.open))
	}
}

func TestAReasonIsShortAndPrintable(t *testing.T) {
	found := shorten("a\r\nb\x1b[31m" + strings.Repeat("园", 200))
	if len(found) > 400 || strings.ContainsAny(found, "\r\n\x1b") || !strings.HasPrefix(found, "a  b [31m园") {
		t.Errorf("%q", found)
	}
}

func TestAnAppDoesNotReadTheAddressOfAWebhook(t *testing.T) {
	made := newPoster(&line{host: "127.0.0.1", port: 443}, "https://127.0.0.1/hooks/s%65cret", "")
	err := made.send(t.Context(), &message{ID: "abc"})
	if err == nil || strings.Contains(err.Error(), "cret") || !strings.Contains(err.Error(), "surroundings") {
		t.Error(err)
	}
}
