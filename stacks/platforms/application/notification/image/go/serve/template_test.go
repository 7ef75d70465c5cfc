package serve

import (
	"strings"
	"testing"
)

func every(string) bool { return true }

func TestATemplateIsFilledWithAllItsValuesAndNoOthers(t *testing.T) {
	found, bad := parseTemplate([]byte(`{"channel": "mail", "subject": "{{park}} 通知", "text": "Dear {{name}},\n{{park}}"}`), every)
	if bad != nil {
		t.Fatal(bad)
	}
	subject, text, bad := found.fill(map[string]string{"name": "{{park}}", "park": "北园"})
	// A value is never a place.
	if bad != nil || subject != "北园 通知" || text != "Dear {{park}},\n北园" {
		t.Errorf("%q %q %v", subject, text, bad)
	}
	for why, values := range map[string]map[string]string{
		`"name" has no value`: {"park": "x"}, `no place "more"`: {"park": "x", "name": "x", "more": "x"},
		"it is one line": {"park": "x\r\nBcc: all@example.org", "name": "x"}, "U+0000": {"park": "x", "name": "\x00"},
		"U+2028": {"park": "x", "name": "\u2028"}, "more than 4000": {"park": "x", "name": strings.Repeat("x", 4001)},
		"no UTF-8": {"park": "x", "name": "\xff"}, "whole subject": {"park": strings.Repeat("x", 300), "name": "x"},
	} {
		if _, _, bad := found.fill(values); bad == nil || !strings.Contains(bad.Reason, why) {
			t.Errorf("%s: %v", why, bad)
		}
	}
}

func TestATemplateThatIsWrongIsRefused(t *testing.T) {
	for text, field := range map[string]string{
		`{"channel": "mail", "text": "x"}`:                                          "subject",
		`{"channel": "sms", "subject": "x", "text": "x"}`:                           "subject",
		`{"channel": "sms"}`:                                                        "text",
		`{"channel": "fax", "text": "x"}`:                                           "channel",
		`{"channel": "sms", "text": "{{Name}}"}`:                                    "text",
		`{"channel": "sms", "text": "{{name"}`:                                      "text",
		`{"channel": "sms", "text": "name}}"}`:                                      "text",
		`{"channel": "sms", "text": "{{ name }}"}`:                                  "text",
		`{"channel": "sms", "text": "{{range .}}"}`:                                 "text",
		`{"channel": "sms", "text": "{{a{{b}}c}}"}`:                                 "text",
		`{"channel": "mail", "subject": "a\nBcc: x@example.org", "text": "x"}`:      "subject",
		`{"channel": "sms", "text": "x", "to": "x"}`:                                "(document)",
		`{"channel": "sms", "text": "x", "names": ["x"]}`:                           "names",
		`{"channel": "sms", "text": "x"} {}`:                                        "(document)",
		`{"channel": "sms", "text": "` + strings.Repeat("x", templateMost+1) + `"}`: "text",
	} {
		is := func(channel string) bool { return channel != "fax" }
		if _, bad := parseTemplate([]byte(text), is); bad == nil || bad.Field != field {
			t.Errorf("%.80s: %v", text, bad)
		}
	}
}

func TestAMessageHasOneReceiver(t *testing.T) {
	for channel, receivers := range map[string][]string{
		mailChannel: {
			"", "ann", "a@b@example.org", "Ann <ann@example.org>", "ann@example.org, bob@example.org", "ann@example.org\r\nBcc: x",
			"ann@example.org ", "<ann@example.org>", "ann@example..org", "ann@[127.0.0.1]", `"a b"@example.org`, "安@example.org",
		},
		sms:     {"", "12", "+", "1234567890123456789012", "138 0013", "13800138000;13800138001", "13800138000\n"},
		webhook: {"", "a b", "a\nb", strings.Repeat("x", 201)},
	} {
		for _, to := range receivers {
			if bad := checkReceiver(channel, to); bad == nil || bad.Field != "to" {
				t.Errorf("%s takes %q", channel, to)
			}
		}
	}
	for channel, to := range map[string]string{mailChannel: "ann.lee+park@mail.example.org", sms: "+8613800138000", webhook: "parks/duty"} {
		if bad := checkReceiver(channel, to); bad != nil {
			t.Errorf("%s does not take %q: %v", channel, to, bad)
		}
	}
}
