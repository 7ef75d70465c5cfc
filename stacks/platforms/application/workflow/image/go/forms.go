package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const mostVariables = 100

// variable is a value that a request brings. Objects of Java and documents are none.
type variable struct {
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Scope string          `json:"scope"`
	Value json.RawMessage `json:"value"`
}

// clean returns variables as the engine gets them.
func clean(given []variable) ([]map[string]any, error) {
	made := []map[string]any{}
	if len(given) > mostVariables {
		return nil, refused(http.StatusBadRequest, "there are more than %d variables", mostVariables)
	}
	for _, item := range given {
		if !variables.MatchString(item.Name) || reserved[item.Name] {
			return nil, refused(http.StatusBadRequest, "%q is no name of a variable", item.Name)
		}
		var value any
		if len(item.Value) > 0 {
			if err := json.Unmarshal(item.Value, &value); err != nil {
				return nil, refused(http.StatusBadRequest, "variable %s: %v", item.Name, err)
			}
		}
		kind := item.Type
		fits := false
		switch value := value.(type) {
		case nil:
			fits = kind == "" || kind == "string"
			kind = "string"
		case string:
			fits = (kind == "" || kind == "string") && len(value) <= mostText
			kind = "string"
		case bool:
			fits = kind == "" || kind == "boolean"
			kind = "boolean"
		case float64:
			isWhole := !strings.ContainsAny(string(item.Value), ".eE")
			if kind == "" {
				kind = map[bool]string{true: "long", false: "double"}[isWhole]
			}
			bits := map[string]int{"integer": 32, "long": 64}[kind]
			_, err := strconv.ParseInt(string(item.Value), 10, bits)
			fits = kind == "double" || bits > 0 && err == nil
		}
		if !fits {
			return nil, refused(http.StatusBadRequest, "variable %s is of type %q and does not fit: types are string (at most %d bytes), integer, long, double and boolean", item.Name, item.Type, mostText)
		}
		made = append(made, map[string]any{"name": item.Name, "type": kind, "value": item.Value})
		if len(item.Value) == 0 {
			made[len(made)-1]["value"] = nil
		}
	}
	return made, nil
}

// field is a property of a form as the engine tells of it.
type field struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	Value    any    `json:"value"`
	Writable bool   `json:"writable"`
	Required bool   `json:"required"`
	Values   []struct {
		ID string `json:"id"`
	} `json:"enumValues"`
}

type filled struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

func (d *door) fields(a *asked, task string) ([]field, error) {
	got, err := d.ask(a, http.MethodGet, "form/form-data", url.Values{"taskId": {task}}, nil)
	if err != nil {
		return nil, err
	}
	var form struct {
		Fields []field `json:"formProperties"`
	}
	if got.status != http.StatusOK || json.Unmarshal(got.body, &form) != nil {
		return nil, errGone
	}
	return form.Fields, nil
}

// fits returns what somebody has filled in, if the form asks for it: the engine would take what it does not ask for as
// variables, and anything but true for false.
func fits(form []field, given []filled) ([]map[string]string, error) {
	known := map[string]field{}
	for _, item := range form {
		known[item.ID] = item
	}
	made, seen := []map[string]string{}, map[string]bool{}
	for _, item := range given {
		field, ok := known[item.ID]
		if !ok || !field.Writable || seen[item.ID] {
			return nil, refused(http.StatusBadRequest, "the form does not ask for %q, or has it already", item.ID)
		}
		seen[item.ID] = true
		text := fmt.Sprint(item.Value)
		ok = len(text) <= mostText
		switch field.Type {
		case "boolean":
			ok = text == "true" || text == "false"
		case "long":
			_, err := strconv.ParseInt(text, 10, 64)
			ok = err == nil
		case "enum":
			ok = false
			for _, value := range field.Values {
				ok = ok || value.ID == text
			}
		default:
			_, isText := item.Value.(string)
			ok = ok && isText
		}
		if !ok {
			return nil, refused(http.StatusBadRequest, "%q is no %s, which field %s asks for", first(text, 100), field.Type, item.ID)
		}
		made = append(made, map[string]string{"id": item.ID, "value": text})
	}
	for _, item := range form {
		if item.Required && item.Writable && !seen[item.ID] {
			return nil, refused(http.StatusBadRequest, "field %s is required", item.ID)
		}
	}
	return made, nil
}

// form is what a task of the account's own asks for.
func (d *door) form(a *asked) (reply, error) {
	query := a.URL.Query()
	id := query.Get("taskId")
	if len(query) != 1 {
		return reply{}, refused(http.StatusBadRequest, "the query has taskId alone")
	}
	if _, err := d.own(a, "runtime/tasks", id); err != nil {
		return reply{}, err
	}
	return d.ask(a, http.MethodGet, "form/form-data", url.Values{"taskId": {id}}, nil)
}

// fill completes a task of the account's own by its form.
func (d *door) fill(a *asked) (reply, error) {
	var wanted struct {
		Task       string   `json:"taskId"`
		Properties []filled `json:"properties"`
	}
	if err := a.read(&wanted); err != nil {
		return reply{}, err
	}
	if err := d.room(a); err != nil {
		return reply{}, err
	}
	if _, err := d.own(a, "runtime/tasks", wanted.Task); err != nil {
		return reply{}, err
	}
	return d.submit(a, wanted.Task, wanted.Properties)
}

func (d *door) submit(a *asked, task string, given []filled) (reply, error) {
	form, err := d.fields(a, task)
	if err != nil {
		return reply{}, err
	}
	properties, err := fits(form, given)
	if err == nil {
		err = d.spare(a, task, len(properties))
	}
	if err != nil {
		return reply{}, err
	}
	got, err := d.ask(a, http.MethodPost, "form/form-data", nil, map[string]any{"taskId": task, "properties": properties})
	if err == nil && got.status < 300 {
		d.count("completed", a.account)
	}
	return got, err
}
