package devinbox

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Limits of an answer.
const (
	maxRetryAfter = 24 * 60 * 60 // seconds: Herald waits no longer
	// longestHang ends a request that is not answered, if its caller does not.
	longestHang = 10 * time.Minute
)

// Answer is what the inbox answers webhooks with. The zero value is a 200. At most one of Status, Hang and
// Close is set.
type Answer struct {
	// Status is the status; 0 means 200, unless Hang or Close is set.
	Status int `json:"status,omitempty"`
	// RetryAfter is the Retry-After header in seconds; 0 sends none.
	RetryAfter int `json:"retryAfter,omitempty"`
	// Hang never answers. Close closes the connection without an answer.
	Hang  bool `json:"hang,omitempty"`
	Close bool `json:"close,omitempty"`
}

// Check returns an error that says what is wrong with an answer.
func (a Answer) Check() error {
	switch {
	case a.Hang && a.Close, (a.Hang || a.Close) && a.Status != 0:
		return errors.New("give one of status, hang and close")
	case a.Status != 0 && (a.Status < 200 || a.Status > 599):
		return fmt.Errorf("status %d: want 200 to 599", a.Status)
	case a.RetryAfter < 0 || a.RetryAfter > maxRetryAfter:
		return fmt.Errorf("retryAfter %d: want 0 to %d seconds", a.RetryAfter, maxRetryAfter)
	case a.RetryAfter > 0 && (a.Hang || a.Close):
		return errors.New("retryAfter needs a status: without an answer there is no header")
	}
	return nil
}

// String says the answer in a word or two, for a line of `herald dev`.
func (a Answer) String() string {
	switch {
	case a.Hang:
		return "hang"
	case a.Close:
		return "close"
	case a.RetryAfter > 0:
		return fmt.Sprintf("%d, Retry-After %d", a.status(), a.RetryAfter)
	}
	return strconv.Itoa(a.status())
}

func (a Answer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

// write answers a request. A request that hangs ends with its caller, or after longestHang.
func (a Answer) write(w http.ResponseWriter, r *http.Request) {
	if a.Hang {
		end := time.NewTimer(longestHang)
		defer end.Stop()
		select {
		case <-r.Context().Done():
		case <-end.C:
		}
	}
	if a.Hang || a.Close {
		panic(http.ErrAbortHandler) // net/http closes the connection, and logs nothing
	}
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	w.WriteHeader(a.status())
}
