//go:build tools

// Package tools keeps the program that the image holds among the module's requirements.
package tools

import _ "github.com/versity/versitygw/cmd/versitygw"
