// Package zxcvbn estimates how much of a secret a text may be, in place of the package of this name.
//
// The engine asks for it in `config set` alone, of a value whose key reads like a password's. The original builds its
// dictionaries at every start of every program that has it, which is two thirds of the engine's own start.
package zxcvbn

import (
	"math"
	"strings"
)

// Estimate is what the engine reads of the original's answer.
type Estimate struct {
	Entropy float64 // bits
}

// alphabets are what a guesser would have to try for each character; what is in none of them counts as a symbol.
var alphabets = []string{"0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

const symbols = 33

// PasswordStrength takes every text for random over the alphabets that it uses: it knows no words, and so warns of
// more than the original does, never of less.
func PasswordStrength(text string, _ []string) Estimate {
	size, rest := 0, text
	for _, alphabet := range alphabets {
		if strings.ContainsAny(text, alphabet) {
			size += len(alphabet)
		}
		rest = strings.Map(func(one rune) rune {
			if strings.ContainsRune(alphabet, one) {
				return -1
			}
			return one
		}, rest)
	}
	if rest != "" {
		size += symbols
	}
	if size == 0 {
		return Estimate{}
	}
	return Estimate{Entropy: float64(len(text)) * math.Log2(float64(size))}
}
