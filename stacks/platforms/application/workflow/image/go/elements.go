package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// element is a node of the XML, with where it begins.
type element struct {
	at       place
	name     xml.Name
	attrs    []xml.Attr
	text     string
	children []*element
}

// read returns the elements of an XML document. Documents with a type declaration are refused.
func read(text []byte) (*element, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.Strict = true
	decoder.Entity = map[string]string{}
	var open []*element
	var root *element
	for count := 0; ; {
		line, column := decoder.InputPos()
		at := place{line, column}
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault{at, strings.TrimPrefix(err.Error(), "XML syntax error on ")}
		}
		switch token := token.(type) {
		case xml.Directive:
			return nil, fault{at, "a document type is not allowed"}
		case xml.StartElement:
			if count++; count > 20000 || len(open) > 32 {
				return nil, fault{at, "the file has too many elements"}
			}
			made := &element{at: at, name: token.Name, attrs: token.Copy().Attr}
			if len(open) > 0 {
				parent := open[len(open)-1]
				parent.children = append(parent.children, made)
			} else if root != nil {
				return nil, fault{at, "the file has two roots"}
			} else {
				root = made
			}
			open = append(open, made)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(token)
			}
		}
	}
	if root == nil {
		return nil, fault{place{1, 1}, "the file has no element"}
	}
	return root, nil
}

// ignored are elements that say nothing to the engine: drawings, lanes, notes, and what flows say too.
var ignored = map[string]bool{
	"laneSet": true, "textAnnotation": true, "association": true, "incoming": true, "outgoing": true,
}

func (e *element) is(space, name string) bool { return e.name.Space == space && e.name.Local == name }

// attributes are those of an element by name; those of the engine have its prefix. Any that is not in `known` is refused.
func (e *element) attributes(known ...string) (map[string]string, error) {
	found := map[string]string{}
	for _, item := range e.attrs {
		name := item.Name.Local
		switch item.Name.Space {
		case "":
		case flowable:
			name = "flowable:" + name
		case instance:
			name = "xsi:" + name
		case "xmlns":
			continue
		default:
			// One that is meant for another engine would be left out without a word.
			return nil, fault{e.at, fmt.Sprintf("<%s> may not have the attribute %s of %s", e.name.Local, name, item.Name.Space)}
		}
		if item.Name.Space == "" && name == "xmlns" {
			continue
		}
		if !contains(known, name) {
			return nil, fault{e.at, fmt.Sprintf("<%s> may not have the attribute %s", e.name.Local, name)}
		}
		if _, twice := found[name]; twice {
			return nil, fault{e.at, fmt.Sprintf("<%s> has the attribute %s twice", e.name.Local, name)}
		}
		found[name] = item.Value
	}
	return found, nil
}

func contains(known []string, name string) bool {
	for _, item := range known {
		if item == name {
			return true
		}
	}
	return false
}

// plain is a text without an expression.
func (e *element) plain(what, text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) > mostText {
		return "", fault{e.at, fmt.Sprintf("%s is longer than %d bytes", what, mostText)}
	}
	if strings.Contains(text, "${") || strings.Contains(text, "#{") {
		return "", fault{e.at, what + " may not have an expression"}
	}
	return text, nil
}
