package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// What a definition may have. Everything that is not named here is refused, so that a new element of the engine's is
// refused too.
const (
	bpmn     = "http://www.omg.org/spec/BPMN/20100524/MODEL"
	flowable = "http://flowable.org/bpmn"
	instance = "http://www.w3.org/2001/XMLSchema-instance"

	mostNodes, mostFlows, mostProperties = 200, 400, 50
	// Branches of an instance that one completed task may lead to at most.
	mostBranches = 64
	mostText     = 4000
	shortest     = time.Minute
	longest      = 10 * 366 * 24 * time.Hour
)

var (
	identifiers = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)
	variables   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	people      = regexp.MustCompile(`^[A-Za-z0-9_@.+-]{1,128}$`)
	others      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}/[a-z0-9][a-z0-9-]{0,62}$`)
	oneVariable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]{0,63})\}$`)
	durations   = regexp.MustCompile(`^P(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?$`)
)

// Names with which expressions reach the engine, or which its language has for itself.
var reserved = map[string]bool{
	"execution": true, "task": true, "authenticatedUserId": true, "variableContainer": true, "caseInstance": true,
	"planItemInstance": true, "flowUtils": true, "variables": true, "var": true, "vars": true, "now": true,
	"currentDate": true, "initiator": true, "authenticatedUser": true, "event": true,
	"empty": true, "instanceof": true, "div": true, "mod": true, "true": true, "false": true, "null": true,
	"and": true, "or": true, "not": true, "eq": true, "ne": true, "lt": true, "gt": true, "le": true, "ge": true,
}

// place is where in a file something is, from 1.
type place struct{ line, column int }

type fault struct {
	at   place
	text string
}

func (f fault) Error() string { return fmt.Sprintf("%d:%d: %s", f.at.line, f.at.column, f.text) }

// property is a field of a form: what who does a task is shown, and what they fill in.
type property struct {
	id, name, kind     string
	writable, required bool
	values             []string
}

// node is a step of a process.
type node struct {
	at                                place
	kind, id, name, text              string
	assignee, users, groups, fallback string
	attached, after                   string
	stays, ends                       bool
	form                              []property
}

// flow leads from one node to another, if its condition holds.
type flow struct {
	at                         place
	id, name, from, to, expect string
}

// process is a definition, as far as it is allowed.
type process struct {
	key, name, text string
	nodes           []node
	flows           []flow
}

// parse reads a definition. It returns what is allowed, and a fault with its place for anything else.
func parse(text []byte) (*process, error) {
	root, err := read(text)
	if err != nil {
		return nil, err
	}
	if !root.is(bpmn, "definitions") {
		return nil, fault{root.at, "the file is no BPMN 2.0: its root has to be <definitions> of " + bpmn}
	}
	var found *process
	for _, item := range root.children {
		switch {
		case item.is(bpmn, "process"):
			if found != nil {
				return nil, fault{item.at, "a file has one process"}
			}
			if found, err = item.process(); err != nil {
				return nil, err
			}
		case item.is("http://www.omg.org/spec/BPMN/20100524/DI", "BPMNDiagram"):
		default:
			return nil, item.refused()
		}
	}
	if found == nil {
		return nil, fault{root.at, "the file has no process"}
	}
	return found, found.check()
}

func (e *element) refused() error {
	return fault{e.at, fmt.Sprintf("<%s> is not allowed: steps are start and end events, user tasks, exclusive and parallel gateways, and timers", e.name.Local)}
}

func (e *element) process() (*process, error) {
	attrs, err := e.attributes("id", "name", "isExecutable", "processType", "isClosed")
	if err != nil {
		return nil, err
	}
	made := &process{key: attrs["id"]}
	if !identifiers.MatchString(made.key) {
		return nil, fault{e.at, fmt.Sprintf("%q is no id of a process", made.key)}
	}
	if attrs["isExecutable"] == "false" {
		return nil, fault{e.at, "the process is not executable"}
	}
	if made.name, err = e.plain("the name", attrs["name"]); err != nil {
		return nil, err
	}
	for _, item := range e.children {
		switch {
		case item.name.Space != bpmn:
			err = item.refused()
		case item.name.Local == "sequenceFlow":
			err = made.addFlow(item)
		case item.name.Local == "documentation":
			made.text, err = item.plain("the documentation", item.text)
		case ignored[item.name.Local]:
		default:
			err = made.addNode(item)
		}
		if err != nil {
			return nil, err
		}
		if len(made.nodes) > mostNodes || len(made.flows) > mostFlows {
			return nil, fault{item.at, fmt.Sprintf("a process has at most %d steps and %d flows", mostNodes, mostFlows)}
		}
	}
	return made, nil
}

func (p *process) addFlow(e *element) error {
	attrs, err := e.attributes("id", "name", "sourceRef", "targetRef")
	if err != nil {
		return err
	}
	made := flow{at: e.at, id: attrs["id"], from: attrs["sourceRef"], to: attrs["targetRef"]}
	if made.name, err = e.plain("the name", attrs["name"]); err != nil {
		return err
	}
	if !identifiers.MatchString(made.id) {
		return fault{e.at, fmt.Sprintf("%q is no id of a flow", made.id)}
	}
	for _, item := range e.children {
		switch {
		case item.is(bpmn, "conditionExpression") && made.expect == "":
			if _, err := item.attributes("xsi:type", "id"); err != nil {
				return err
			}
			if len(item.children) > 0 {
				return item.children[0].refused()
			}
			if made.expect, err = condition(strings.TrimSpace(item.text)); err != nil {
				return fault{item.at, "the condition " + err.Error()}
			}
		case item.is(bpmn, "documentation"):
		default:
			return item.refused()
		}
	}
	p.flows = append(p.flows, made)
	return nil
}

// kinds of nodes, with the attributes that each may have.
var kinds = map[string][]string{
	"startEvent":             {"id", "name", "flowable:formFieldValidation"},
	"endEvent":               {"id", "name"},
	"exclusiveGateway":       {"id", "name", "default", "gatewayDirection"},
	"parallelGateway":        {"id", "name", "gatewayDirection"},
	"boundaryEvent":          {"id", "name", "attachedToRef", "cancelActivity"},
	"intermediateCatchEvent": {"id", "name"},
	"userTask": {
		"id", "name", "flowable:assignee", "flowable:candidateUsers", "flowable:candidateGroups",
		"flowable:formFieldValidation",
	},
}

func (p *process) addNode(e *element) error {
	known, ok := kinds[e.name.Local]
	if !ok {
		return e.refused()
	}
	attrs, err := e.attributes(known...)
	if err != nil {
		return err
	}
	made := node{at: e.at, kind: e.name.Local, id: attrs["id"], fallback: attrs["default"], attached: attrs["attachedToRef"]}
	made.stays = attrs["cancelActivity"] == "false"
	if !identifiers.MatchString(made.id) {
		return fault{e.at, fmt.Sprintf("%q is no id of a step", made.id)}
	}
	if made.name, err = e.plain("the name", attrs["name"]); err != nil {
		return err
	}
	made.assignee = strings.TrimSpace(attrs["flowable:assignee"])
	if made.assignee != "" && !people.MatchString(made.assignee) {
		found := oneVariable.FindStringSubmatch(made.assignee)
		if found == nil || reserved[found[1]] {
			return fault{e.at, "the assignee is a name, or ${VARIABLE}"}
		}
	}
	if made.users, err = list(attrs["flowable:candidateUsers"], people); err != nil {
		return fault{e.at, "candidateUsers: " + err.Error()}
	}
	if made.groups, err = list(attrs["flowable:candidateGroups"], people, others); err != nil {
		return fault{e.at, "candidateGroups: " + err.Error()}
	}
	isTimer := made.kind == "boundaryEvent" || made.kind == "intermediateCatchEvent"
	for _, item := range e.children {
		switch {
		case item.is(bpmn, "documentation"):
			made.text, err = item.plain("the documentation", item.text)
		case item.name.Space == bpmn && ignored[item.name.Local]:
		case item.is(bpmn, "extensionElements") && (made.kind == "userTask" || made.kind == "startEvent"):
			made.form, err = item.form()
		case item.is(bpmn, "timerEventDefinition") && isTimer && made.after == "":
			made.after, err = item.duration()
		case item.is(bpmn, "terminateEventDefinition") && made.kind == "endEvent" && len(item.children) == 0:
			_, err = item.attributes("id")
			made.ends = true
		default:
			err = item.refused()
		}
		if err != nil {
			return err
		}
	}
	if isTimer && made.after == "" {
		return fault{e.at, fmt.Sprintf("<%s> has to have a timer", made.kind)}
	}
	p.nodes = append(p.nodes, made)
	return nil
}

// list is a list of names without blanks, each of which fits one of the patterns.
func list(text string, patterns ...*regexp.Regexp) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", nil
	}
	parts := strings.Split(text, ",")
	if len(parts) > 20 {
		return "", errors.New("at most 20 names")
	}
	for index, part := range parts {
		parts[index] = strings.TrimSpace(part)
		fits := false
		for _, pattern := range patterns {
			fits = fits || pattern.MatchString(parts[index])
		}
		if !fits {
			return "", fmt.Errorf("%q is no name; expressions are not allowed", parts[index])
		}
	}
	return strings.Join(parts, ","), nil
}

func (e *element) form() ([]property, error) {
	var found []property
	seen := map[string]bool{}
	for _, item := range e.children {
		if !item.is(flowable, "formProperty") {
			// What Flowable's editor notes for itself.
			if item.name.Space == "http://flowable.org/modeler" {
				continue
			}
			return nil, item.refused()
		}
		attrs, err := item.attributes("id", "name", "type", "writable", "required", "readable")
		if err != nil {
			return nil, err
		}
		made := property{id: attrs["id"], kind: attrs["type"], writable: attrs["writable"] != "false", required: attrs["required"] == "true"}
		if made.kind == "" {
			made.kind = "string"
		}
		if made.name, err = item.plain("the name", attrs["name"]); err != nil {
			return nil, err
		}
		if !variables.MatchString(made.id) || reserved[made.id] || seen[made.id] {
			return nil, fault{item.at, fmt.Sprintf("%q is no id of a field, or is there twice", made.id)}
		}
		seen[made.id] = true
		if !contains([]string{"string", "long", "boolean", "enum"}, made.kind) {
			return nil, fault{item.at, "a field is of type string, long, boolean or enum"}
		}
		for _, value := range item.children {
			if !value.is(flowable, "value") || made.kind != "enum" {
				return nil, value.refused()
			}
			attrs, err := value.attributes("id", "name")
			if err != nil {
				return nil, err
			}
			if !people.MatchString(attrs["id"]) || len(made.values) == 100 {
				return nil, fault{value.at, fmt.Sprintf("%q is no value, or there are more than 100", attrs["id"])}
			}
			made.values = append(made.values, attrs["id"])
		}
		if made.kind == "enum" && len(made.values) == 0 {
			return nil, fault{item.at, "an enum has to have values"}
		}
		if found = append(found, made); len(found) > mostProperties {
			return nil, fault{item.at, fmt.Sprintf("a form has at most %d fields", mostProperties)}
		}
	}
	return found, nil
}

func (e *element) duration() (string, error) {
	if _, err := e.attributes("id"); err != nil {
		return "", err
	}
	if len(e.children) != 1 || !e.children[0].is(bpmn, "timeDuration") || len(e.children[0].children) > 0 {
		return "", fault{e.at, "a timer has one <timeDuration>; dates and cycles are not allowed"}
	}
	item := e.children[0]
	if _, err := item.attributes("xsi:type", "id"); err != nil {
		return "", err
	}
	text := strings.TrimSpace(item.text)
	parts := durations.FindStringSubmatch(text)
	if parts == nil {
		return "", fault{item.at, fmt.Sprintf("%q is no duration such as P3D or PT12H", text)}
	}
	var total time.Duration
	for index, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		var count int64
		if parts[index+1] != "" {
			fmt.Sscan(parts[index+1], &count)
		}
		total += time.Duration(count) * unit
	}
	if total < shortest || total > longest {
		return "", fault{item.at, "a timer is between a minute and ten years"}
	}
	return text, nil
}
