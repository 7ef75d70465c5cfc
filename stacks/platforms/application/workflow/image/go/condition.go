package main

import (
	"fmt"
	"regexp"
	"strings"
)

// The words of a condition: numbers, texts, names and operators. There is no dot, bracket or question mark, by which an
// expression would reach methods and fields of Java objects.
var words = regexp.MustCompile(`^(?:\s*)(?:(\d{1,15}(?:\.\d{1,15})?)|('[^'\\$#{}]{0,200}'|"[^"\\$#{}]{0,200}")|([A-Za-z_][A-Za-z0-9_]{0,63})|(==|!=|<=|>=|&&|\|\||<|>|!|\(|\)))`)

const deepest = 16

var operators = map[string]string{
	"==": "==", "!=": "!=", "<=": "<=", ">=": ">=", "<": "<", ">": ">", "&&": "&&", "||": "||",
	"eq": "==", "ne": "!=", "le": "<=", "ge": ">=", "lt": "<", "gt": ">", "and": "&&", "or": "||",
}

// condition reads ${…} with comparisons of variables and constants, and writes it anew from what it has read.
func condition(text string) (string, error) {
	inner, ok := strings.CutPrefix(text, "${")
	if !ok || !strings.HasSuffix(inner, "}") || len(text) > 1000 {
		return "", fmt.Errorf("has to be ${…} of at most 1000 bytes")
	}
	rest := strings.TrimSuffix(inner, "}")
	var out []string
	// Whether a value has to come next, and how many brackets are open.
	wanted, depth := true, 0
	for strings.TrimSpace(rest) != "" {
		found := words.FindStringSubmatch(rest)
		if found == nil {
			return "", fmt.Errorf("may not have %q: it compares variables and constants", strings.TrimSpace(rest))
		}
		rest = rest[len(found[0]):]
		number, quoted, name, sign := found[1], found[2], found[3], found[4]
		operator := operators[sign+name]
		switch {
		case wanted && (number != "" || quoted != ""):
			out, wanted = append(out, number+quoted), false
		case wanted && (name == "true" || name == "false" || name == "null"):
			out, wanted = append(out, name), false
		case wanted && (sign == "!" || name == "not"):
			out = append(out, "!")
		case wanted && sign == "(" && depth < deepest:
			out, depth = append(out, "("), depth+1
		case wanted && name != "" && !reserved[name]:
			out, wanted = append(out, name), false
		case !wanted && sign == ")" && depth > 0:
			out, depth = append(out, ")"), depth-1
		case !wanted && operator != "":
			out, wanted = append(out, operator), true
		default:
			return "", fmt.Errorf("may not have %q there", strings.TrimSpace(found[0]))
		}
	}
	if wanted || depth != 0 {
		return "", fmt.Errorf("is not complete")
	}
	return "${" + strings.Join(out, " ") + "}", nil
}
