package serve

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// valueOf is a value as JSON has it, from the text that PostgreSQL sends: numbers, booleans and JSON as such, and
// everything else as text.
func valueOf(kind uint32, text []byte) any {
	if text == nil {
		return nil
	}
	switch kind {
	case 16: // bool
		return string(text) == "t"
	case 21, 23: // int2, int4; larger ones lose digits in JavaScript, and are texts.
		return json.RawMessage(append([]byte(nil), text...))
	case 700, 701: // float4, float8
		if json.Valid(text) {
			return json.RawMessage(append([]byte(nil), text...))
		}
	case 114, 3802: // json, jsonb
		if json.Valid(text) {
			return json.RawMessage(append([]byte(nil), text...))
		}
	}
	return string(text)
}

// masked is what is shown of a value. A hash is the same for the same value and consumer, so that it tells rows of one
// person apart; two consumers cannot join what they have by it.
func masked(mask string, value any, key []byte) any {
	if value == nil {
		return nil
	}
	text, is := value.(string)
	if !is {
		whole, _ := json.Marshal(value)
		text = string(whole)
	}
	if mask == maskHash {
		sum := hmac.New(sha256.New, key)
		sum.Write([]byte(text))
		return hex.EncodeToString(sum.Sum(nil)[:16])
	}
	runes := []rune(text)
	// Of short texts, such as names, the first character alone.
	if len(runes) < 11 {
		if len(runes) < 2 {
			return "*"
		}
		return string(runes[:1]) + strings.Repeat("*", len(runes)-1)
	}
	return string(runes[:3]) + strings.Repeat("*", len(runes)-5) + string(runes[len(runes)-2:])
}

// consentLine is what the comment of a table has to say for it to be read as an asset.
func consentLine(asset name) string { return "data asset " + asset.String() }

func says(comment string, asset name) bool {
	for line := range strings.SplitSeq(comment, "\n") {
		if strings.TrimSpace(line) == consentLine(asset) {
			return true
		}
	}
	return false
}
