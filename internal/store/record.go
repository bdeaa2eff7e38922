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
	k, err := newRecording(r)
	if err != nil {
		return err
	}
	return s.writer.do(&work{client: r.Due.ClientID, rows: 3, bytes: len(k.timings) + len(k.request) + len(k.response), recording: k})
}

func newRecording(r herald.Recording) (*recording, error) {
	k := &recording{Recording: r}
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
