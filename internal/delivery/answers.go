package delivery

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/safetext"
)

// Bounds of what receivers' answers take, in bytes. An answer is what a receiver decides on in an
// attempt's record: the response, the addresses of redirects, the text of an error.
const (
	// DefaultAnswerQuota is how much is stored of the answers to one client in a day: a thousand
	// failures with the longest body.
	DefaultAnswerQuota = 64 << 20
	// maxWaitingAnswers bounds the answers in memory whose results wait to be recorded. The database
	// may take no writes while sending goes on.
	maxWaitingAnswers = 32 << 20
	// Over a bound, this much is kept: of a body, of an error, and of the address of each hop.
	shortBody, shortError, shortHop = 1 << 10, 512, 256
	// maxCountedClients bounds the memory for the quota. Over it counting begins again.
	maxCountedClients = 100_000
)

// answers counts the bytes of answers. It is safe for concurrent use.
type answers struct {
	mu      sync.Mutex
	waiting int
	day     int64 // since 1970 in UTC; stored counts this day
	stored  map[uuid.UUID]int
}

// admit counts the answer in an attempt's record, and shortens the record if the answers that wait or
// those of the client's day take too much. The record then says why. quota 0 is no limit. done must be
// called when the result is recorded. A nil attempt has no answer.
func (a *answers) admit(attempt *herald.Attempt, client uuid.UUID, quota int, now time.Time) (admitted *herald.Attempt, done func()) {
	if attempt == nil {
		return nil, func() {}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if day := now.Unix() / (24 * 60 * 60); day != a.day || len(a.stored) >= maxCountedClients {
		a.day, a.stored = day, make(map[uuid.UUID]int)
	}
	size := answerSize(attempt)
	switch {
	case a.waiting+size > maxWaitingAnswers:
		attempt = shortAnswer(attempt, "Too many answers wait to be recorded, so only the start of the answer is kept.")
	case quota > 0 && a.stored[client]+size > quota:
		attempt = shortAnswer(attempt, fmt.Sprintf("The answers to this client have taken %d MiB today, so only the start of the answer is kept.", quota>>20))
	}
	size = answerSize(attempt)
	a.waiting += size
	if quota > 0 {
		a.stored[client] += size
	}
	return attempt, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.waiting -= size
	}
}

// answerSize returns how many bytes a receiver has caused in an attempt's record.
func answerSize(a *herald.Attempt) int {
	size := len(a.Error)
	if a.Request != nil {
		for i := range a.Request.Hops {
			hop := &a.Request.Hops[i]
			size += len(hop.URL) + len(hop.AuthorizationDropped)
			for name, value := range hop.Headers {
				size += len(name) + len(value)
			}
		}
	}
	if a.Response != nil {
		size += len(a.Response.Body)
		for name, values := range a.Response.Headers {
			for _, value := range values {
				size += len(name) + len(value)
			}
		}
	}
	return size
}

// shortAnswer returns an attempt's record with the start of the answer only.
func shortAnswer(a *herald.Attempt, note string) *herald.Attempt {
	if answerSize(a) <= shortBody {
		return a
	}
	short := *a
	short.Error = safetext.Line(a.Error, shortError)
	if a.Request != nil {
		request := *a.Request
		request.Hops = make([]herald.Hop, len(a.Request.Hops))
		for i, hop := range a.Request.Hops { // the headers are this service's own and short
			hop.URL = safetext.Line(hop.URL, shortHop)
			request.Hops[i] = hop
		}
		short.Request = &request
	}
	if r := a.Response; r != nil {
		short.Response = &herald.ResponseRecord{Body: safetext.Clean(r.Body, shortBody), Truncated: true, Note: note}
	}
	return &short
}
