package serve

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestKeysAndValues(t *testing.T) {
	for key, is := range map[string]bool{
		"a": true, "feature/new-form": true, "A.b_c/1": true, strings.Repeat("k", keyMost): true,
		"": false, "/a": false, "a/": false, "a//b": false, "../a": false, "a/..": false, ".a": false, "a b": false,
		"键": false, "a\x00": false, "a\n": false, strings.Repeat("k", keyMost+1): false,
	} {
		if (checkKey(key) == "") != is {
			t.Errorf("%q: %s", key, checkKey(key))
		}
	}
	for value, is := range map[string]bool{
		"": true, "值\r\n\t": true, strings.Repeat("v", valueMost): true,
		"\x00": false, "\x1b[2J": false, "\xff": false, strings.Repeat("v", valueMost+1): false,
	} {
		if (checkValue([]byte(value)) == "") != is {
			t.Errorf("%.20q: %s", value, checkValue([]byte(value)))
		}
	}
}

func TestConditionsOfChanges(t *testing.T) {
	for _, one := range []struct {
		match, none string
		wanted      condition
		is          bool
	}{
		{"", "", condition{any: true}, true},
		{`"12"`, "", condition{revision: 12}, true},
		{"", "*", condition{}, true},
		{"12", "", condition{}, false},
		{`"0"`, "", condition{}, false},
		{`"x"`, "", condition{}, false},
		{"*", "", condition{}, false},
		{"", `"12"`, condition{}, false},
		{`"12"`, "*", condition{}, false},
	} {
		headers := http.Header{}
		headers.Set("If-Match", one.match)
		headers.Set("If-None-Match", one.none)
		found, reason := conditionOf(headers)
		if (reason == "") != one.is || one.is && found != one.wanted {
			t.Errorf("%+v: %+v %s", one, found, reason)
		}
	}
}

func TestAnAccountAsksSoOftenInASecond(t *testing.T) {
	now := time.Unix(0, 0)
	limits := newLimits()
	limits.now = func() time.Time { return now }
	eve, bob := &account{Name: "eve"}, &account{Name: "bob"}
	count := func(who *account) (found int) {
		for limits.may(who, "PUT", 10, 100) {
			found++
		}
		return found
	}
	if first, other := count(eve), count(bob); first != 100 || other != 100 {
		t.Fatal(first, other)
	}
	now = now.Add(time.Second)
	if found := count(eve); found != 10 {
		t.Fatal(found)
	}
	if !limits.may(eve, "GET", 1, 1) {
		t.Fatal("what is asked otherwise counts by itself")
	}
}

func TestWhoWaitsIsWokenByTheNextChange(t *testing.T) {
	limits := newLimits()
	eve, bob := limits.next("eve"), limits.next("bob")
	limits.told(&account{Name: "eve", Tenant: "a", App: "b"})
	<-eve
	select {
	case <-bob:
		t.Fatal("another account's change")
	case <-limits.next("eve"):
		t.Fatal("there is no further change")
	default:
	}
	if len(limits.waiting) != 2 {
		t.Fatal(limits.waiting)
	}
	if text := limits.tell(nil); !strings.Contains(text, `wecity_configuration_changes_total{tenant="a",app="b"} 1`) {
		t.Fatal(text)
	}
}

func TestWhatIsHeldIsLeftToTheNext(t *testing.T) {
	limits := newLimits()
	end := limits.hold(context.Background(), "a", 1)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if limits.hold(ended, "a", 1) != nil {
		t.Fatal("two at a time")
	}
	next := make(chan func())
	go func() { next <- limits.hold(context.Background(), "a", 1) }()
	end()
	(<-next)()
	if len(limits.queues) != 0 {
		t.Fatal(limits.queues)
	}
	if end := limits.begin("b", 1); limits.begin("b", 1) != nil {
		t.Fatal("two at a time")
	} else {
		end()
	}
	if len(limits.open) != 0 {
		t.Fatal(limits.open)
	}
}
