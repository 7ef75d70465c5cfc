package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestVariablesArePlainValues(t *testing.T) {
	for text, message := range map[string]string{
		`[{"name": "a", "value": "x"}, {"name": "b", "value": true}, {"name": "c", "value": 5}, {"name": "d", "value": 5.5}]`: "",
		`[{"name": "a", "type": "integer", "value": 5}, {"name": "b", "type": "double", "value": 5}, {"name": "c"}]`:          "",
		`[{"name": "a", "type": "integer", "value": 4294967296}]`:                                                             "does not fit",
		`[{"name": "a", "type": "long", "value": 5.5}]`:                                                                       "does not fit",
		`[{"name": "a", "value": 99999999999999999999}]`:                                                                      "does not fit",
		`[{"name": "a", "type": "serializable", "value": "rO0AB"}]`:                                                           "does not fit",
		`[{"name": "a", "type": "boolean", "value": "true"}]`:                                                                 "does not fit",
		`[{"name": "a", "value": [1]}]`:                                                                                       "does not fit",
		`[{"name": "a", "value": "` + strings.Repeat("x", mostText+1) + `"}]`:                                                 "does not fit",
		`[{"name": "execution", "value": 1}]`:                                                                                 "is no name of a variable",
		`[{"name": "a.b", "value": 1}]`:                                                                                       "is no name of a variable",
	} {
		var given []variable
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			t.Fatal(err)
		}
		_, err := clean(given)
		if (err == nil) != (message == "") || err != nil && !strings.Contains(err.Error(), message) {
			t.Errorf("%.100s: %v", text, err)
		}
	}
}

func TestFormsTakeWhatTheyAskForAlone(t *testing.T) {
	var form []field
	text := `[{"id": "street", "type": "string"}, {"id": "ok", "type": "boolean", "writable": true, "required": true},
		{"id": "count", "type": "long", "writable": true}, {"id": "note", "type": "string", "writable": true},
		{"id": "kind", "type": "enum", "writable": true, "enumValues": [{"id": "a"}]}]`
	if err := json.Unmarshal([]byte(text), &form); err != nil {
		t.Fatal(err)
	}
	for text, message := range map[string]string{
		`[{"id": "ok", "value": true}, {"id": "count", "value": 9007199254740993}, {"id": "note", "value": "n"}, {"id": "kind", "value": "a"}]`: "",
		`[{"id": "ok", "value": "false"}]`: "",
		`[]`:                               "field ok is required",
		`[{"id": "ok", "value": "maybe"}]`: "is no boolean",
		`[{"id": "ok", "value": true}, {"id": "ok", "value": false}]`:   "or has it already",
		`[{"id": "ok", "value": true}, {"id": "street", "value": "x"}]`: `does not ask for "street"`,
		`[{"id": "ok", "value": true}, {"id": "other", "value": "x"}]`:  `does not ask for "other"`,
		`[{"id": "ok", "value": true}, {"id": "count", "value": 1.5}]`:  "is no long",
		`[{"id": "ok", "value": true}, {"id": "note", "value": 1}]`:     "is no string",
		`[{"id": "ok", "value": true}, {"id": "kind", "value": "b"}]`:   "is no enum",
	} {
		var given []filled
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&given); err != nil {
			t.Fatal(err)
		}
		made, err := fits(form, given)
		if (err == nil) != (message == "") || err != nil && !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v", text, err)
		}
		if strings.Contains(text, "9007199254740993") && !strings.Contains(fmt.Sprint(made), "9007199254740993") {
			t.Errorf("%v", made)
		}
	}
}
