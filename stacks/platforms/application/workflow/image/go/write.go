package main

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// write returns the definition as the engine gets it: made from what was read and allowed, and from nothing else. So it
// does not matter whether the engine's parser would have read the file in another way.
func (p *process) write() []byte {
	var out strings.Builder
	out.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	fmt.Fprintf(&out, `<definitions xmlns="%s" xmlns:flowable="%s" xmlns:xsi="%s" targetNamespace="wecity">`+"\n", bpmn, flowable, instance)
	fmt.Fprintf(&out, `<process%s isExecutable="true">`, attributes("id", p.key, "name", p.name))
	documentation(&out, p.text)
	for _, item := range p.nodes {
		item.write(&out)
	}
	for _, item := range p.flows {
		fmt.Fprintf(&out, "\n<sequenceFlow%s>", attributes("id", item.id, "name", item.name, "sourceRef", item.from, "targetRef", item.to))
		if item.expect != "" {
			fmt.Fprintf(&out, `<conditionExpression xsi:type="tFormalExpression">%s</conditionExpression>`, escaped(item.expect))
		}
		out.WriteString("</sequenceFlow>")
	}
	out.WriteString("\n</process>\n</definitions>\n")
	return []byte(out.String())
}

func (n node) write(out *strings.Builder) {
	fields := []string{
		"id", n.id, "name", n.name, "default", n.fallback, "attachedToRef", n.attached,
		"flowable:assignee", n.assignee, "flowable:candidateUsers", n.users, "flowable:candidateGroups", n.groups,
	}
	if n.kind == "boundaryEvent" {
		fields = append(fields, "cancelActivity", strconv.FormatBool(!n.stays))
	}
	fmt.Fprintf(out, "\n<%s%s>", n.kind, attributes(fields...))
	documentation(out, n.text)
	if len(n.form) > 0 {
		out.WriteString("<extensionElements>")
		for _, item := range n.form {
			fmt.Fprintf(out, `<flowable:formProperty%s>`, attributes("id", item.id, "name", item.name, "type", item.kind,
				"writable", strconv.FormatBool(item.writable), "required", strconv.FormatBool(item.required)))
			for _, value := range item.values {
				fmt.Fprintf(out, `<flowable:value%s/>`, attributes("id", value, "name", value))
			}
			out.WriteString(`</flowable:formProperty>`)
		}
		out.WriteString("</extensionElements>")
	}
	if n.after != "" {
		fmt.Fprintf(out, "<timerEventDefinition><timeDuration>%s</timeDuration></timerEventDefinition>", escaped(n.after))
	}
	if n.ends {
		out.WriteString("<terminateEventDefinition/>")
	}
	fmt.Fprintf(out, "</%s>", n.kind)
}

func documentation(out *strings.Builder, text string) {
	if text != "" {
		fmt.Fprintf(out, "<documentation>%s</documentation>", escaped(text))
	}
}

// attributes are pairs of names and values, without those that are empty.
func attributes(pairs ...string) string {
	var out strings.Builder
	for index := 0; index < len(pairs); index += 2 {
		if pairs[index+1] != "" {
			fmt.Fprintf(&out, ` %s="%s"`, pairs[index], escaped(pairs[index+1]))
		}
	}
	return out.String()
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}
