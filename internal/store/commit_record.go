package store

import (
	"encoding/json"
	"fmt"

	"herald/internal/work"
)

// recording is a work.Result with its records encoded, which is done
// before the writer's loop.
type recording struct {
	work.Result
	timings, request, response []byte
}

// Record keeps the result of an attempt: the delivery moves to history, or
// waits for its next attempt and is no longer held. The attempt itself is kept
// in any case.
//
// Errors: work.ErrNotHeld when the delivery was cancelled or taken over in
// the meantime; CodeUnavailable when the database takes nothing right now, and
// then the same call can be made again.
func (s *Store) Record(r work.Result) error {
	k, err := newRecording(r)
	if err != nil {
		return err
	}
	return s.writer.do(&request{client: r.Item.ClientID, rows: 3, bytes: len(k.timings) + len(k.request) + len(k.response), recording: k})
}

func newRecording(r work.Result) (*recording, error) {
	k := &recording{Result: r}
	if r.Attempt == nil {
		return k, nil
	}
	for _, part := range []struct {
		value any
		into  *[]byte
	}{
		{r.Attempt.Timings, &k.timings},
		{r.Attempt.Request, &k.request},
		{r.Attempt.Response, &k.response},
	} {
		text, err := json.Marshal(part.value)
		if err != nil {
			return nil, fmt.Errorf("encode an attempt's record: %w", err)
		}
		*part.into = text
	}
	return k, nil
}
