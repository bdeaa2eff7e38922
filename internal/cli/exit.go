// Package cli is the output of the command line: tables and JSON, exit codes for errors, and
// the explanation of a delivery. The commands are in cmd/herald; calls of the service are in
// package client.
package cli

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"herald/client"
)

// The exit codes of the commands.
const (
	OK            = 0
	General       = 1
	Usage         = 2
	NotAuthorized = 3
	NotFound      = 4
	Conflict      = 5
	Network       = 6 // or a fault of the service
	Interrupted   = 130
)

// UsageError is an error in the command line.
type UsageError struct{ Text string }

// Error returns the fault and the way out.
func (e *UsageError) Error() string { return e.Text }

// ExitCode returns the exit code for a command's error; OK for nil.
func ExitCode(err error) int {
	var (
		usage   *UsageError
		answer  *client.Error
		network *url.Error
	)
	switch {
	case err == nil:
		return OK
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.As(err, &usage):
		return Usage
	case errors.As(err, &answer):
		return ofStatus(answer.StatusCode)
	case errors.As(err, &network):
		return Network
	default:
		return General
	}
}

func ofStatus(status int) int {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return NotAuthorized
	case http.StatusNotFound:
		return NotFound
	case http.StatusConflict, http.StatusUnprocessableEntity:
		return Conflict
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return General
	default:
		return Network
	}
}
