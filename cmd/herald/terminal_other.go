//go:build !unix

package main

import "os"

// isTerminal reports whether a file is a character device, such as a console.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
