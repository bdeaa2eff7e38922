package devinbox

import (
	"net/http"
	"strconv"
	"time"

	"herald/client"
)

// longestHang ends a request that is not answered, if its caller does not.
const longestHang = 10 * time.Minute

// Answer is what the inbox answers webhooks with.
type Answer = client.InboxAnswer

// writeAnswer answers a request. A request that hangs ends with its caller, or after longestHang.
func writeAnswer(w http.ResponseWriter, r *http.Request, a Answer) {
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
	w.WriteHeader(a.StatusCode())
}
