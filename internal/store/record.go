package store

import (
	"encoding/json"
	"fmt"

	"herald"
)

// recording is a herald.Recording with its records encoded, which is done
// before the writer's loop.
type recording struct {
	herald.Recording
	timings, request, response []byte
}

// Record keeps the result of an attempt: the delivery moves to history, or
// waits for its next attempt and is no longer held. The attempt itself is kept
// in any case.
//
// Errors: herald.ErrNotHeld when the delivery was cancelled or taken over in
// the meantime; CodeUnavailable when the database takes nothing right now, and
// then the same call can be made again.
func (s *Store) Record(r herald.Recording) error {
	k := &work{client: r.Due.ClientID, rows: 3, recording: &recording{Recording: r}}
	for _, part := range []struct {
		value any
		into  *[]byte
	}{
		{r.Attempt.Timings, &k.recording.timings},
		{r.Attempt.Request, &k.recording.request},
		{r.Attempt.Response, &k.recording.response},
	} {
		text, err := json.Marshal(part.value)
		if err != nil {
			return fmt.Errorf("encode an attempt's record: %w", err)
		}
		*part.into = text
		k.bytes += len(text)
	}
	return s.writer.do(k)
}
