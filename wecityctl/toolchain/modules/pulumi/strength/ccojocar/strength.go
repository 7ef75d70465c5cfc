// Package zxcvbn is the other name by which the engine asks how much of a secret a text may be.
package zxcvbn

import "github.com/nbutton23/zxcvbn-go"

// PasswordStrength is the answer under the first name.
func PasswordStrength(text string, words []string) zxcvbn.Estimate {
	return zxcvbn.PasswordStrength(text, words)
}
