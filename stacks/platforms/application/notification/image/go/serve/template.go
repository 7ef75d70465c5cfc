package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	mailChannel, sms, webhook = "mail", "sms", "webhook"
	// Bytes of a template's texts, of a filled text by channel, of a subject, and of a value.
	templateMost, textMost, smsMost, subjectMost, valueMost = 16 << 10, 64 << 10, 1000, 300, 4000
	valuesMost                                              = 40
)

// A template is a text with places for values. Names are those of the places, in order, each once.
type template struct {
	Channel string   `json:"channel"`
	Subject string   `json:"subject,omitempty"`
	Text    string   `json:"text"`
	Names   []string `json:"names,omitempty"`
}

// A fault is what is wrong with a field of a request.
type fault struct{ Field, Reason string }

var (
	place     = regexp.MustCompile(`\{\{([^{}]*)\}\}`)
	placeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
)

// parseTemplate reads a template and looks at it; `has` says which channels the city has.
func parseTemplate(text []byte, has func(channel string) bool) (*template, *fault) {
	found := &template{}
	if bad := decode(text, found); bad != nil {
		return nil, bad
	}
	if found.Names != nil {
		return nil, &fault{"names", "they follow from the texts, and are not given"}
	}
	if !has(found.Channel) {
		return nil, &fault{"channel", fmt.Sprintf("the city has no channel %.40q", found.Channel)}
	}
	switch {
	case found.Channel == mailChannel && found.Subject == "":
		return nil, &fault{"subject", "mail has one"}
	case found.Channel == sms && found.Subject != "":
		return nil, &fault{"subject", "messages by SMS have none"}
	case found.Text == "":
		return nil, &fault{"text", "it is not empty"}
	case len(found.Text) > templateMost:
		return nil, &fault{"text", fmt.Sprintf("it has at most %d bytes", templateMost)}
	case len(found.Subject) > subjectMost:
		return nil, &fault{"subject", fmt.Sprintf("it has at most %d bytes", subjectMost)}
	}
	for field, content := range map[string]string{"subject": found.Subject, "text": found.Text} {
		if reason := unprintable(content, field == "text"); reason != "" {
			return nil, &fault{field, reason}
		}
		for _, part := range place.FindAllStringSubmatch(content, -1) {
			if !placeName.MatchString(part[1]) {
				return nil, &fault{field, fmt.Sprintf(
					"%.60q is no place: a name has small letters, digits and underscores, such as {{name}}", part[0])}
			}
			if !slices.Contains(found.Names, part[1]) {
				found.Names = append(found.Names, part[1])
			}
		}
		if left := place.ReplaceAllString(content, ""); strings.Contains(left, "{{") || strings.Contains(left, "}}") {
			return nil, &fault{field, "braces of a place are not closed or not opened: {{name}}"}
		}
	}
	if len(found.Names) > valuesMost {
		return nil, &fault{"text", fmt.Sprintf("it has at most %d places", valuesMost)}
	}
	slices.Sort(found.Names)
	return found, nil
}

// fill returns subject and text with the values in their places. Values are texts alone: nothing in them is a place.
func (t *template) fill(values map[string]string) (subject, text string, bad *fault) {
	for _, name := range t.Names {
		if _, is := values[name]; !is {
			return "", "", &fault{"values", fmt.Sprintf("%q has no value", name)}
		}
	}
	for name, value := range values {
		if !slices.Contains(t.Names, name) {
			return "", "", &fault{"values", fmt.Sprintf("the template has no place %.60q", name)}
		}
		if len(value) > valueMost {
			return "", "", &fault{"values", fmt.Sprintf("the value of %q has more than %d bytes", name, valueMost)}
		}
		if reason := unprintable(value, !strings.Contains(t.Subject, "{{"+name+"}}")); reason != "" {
			return "", "", &fault{"values", fmt.Sprintf("the value of %q: %s", name, reason)}
		}
	}
	put := func(content string) string {
		return place.ReplaceAllStringFunc(content, func(found string) string { return values[found[2:len(found)-2]] })
	}
	subject, text = put(t.Subject), put(t.Text)
	most := textMost
	if t.Channel == sms {
		most = smsMost
	}
	if len(text) > most {
		return "", "", &fault{"values", fmt.Sprintf("the whole text has more than %d bytes", most)}
	}
	if len(subject) > subjectMost {
		return "", "", &fault{"values", fmt.Sprintf("the whole subject has more than %d bytes", subjectMost)}
	}
	return subject, text, nil
}

// unprintable says what a text has that none may have; with `lines`, it may have several lines. A line break in a subject
// would begin another header.
func unprintable(text string, lines bool) string {
	if !utf8.ValidString(text) {
		return "it is no UTF-8"
	}
	for _, char := range text {
		isBreak := char == '\n' || char == '\r' || char == '\t'
		if isBreak && !lines {
			return "it is one line"
		}
		if unicode.IsControl(char) && !isBreak || char == '\u2028' || char == '\u2029' {
			return fmt.Sprintf("the character U+%04X is not allowed", char)
		}
	}
	return ""
}

// decode reads JSON of a whole request into `to`; a field that it does not have is an error.
func decode(text []byte, to any) *fault {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return &fault{"(document)", "it cannot be read: " + err.Error()}
	}
	if decoder.More() {
		return &fault{"(document)", "it is one document"}
	}
	return nil
}
