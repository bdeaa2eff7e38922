package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"herald/internal/work"
)

// encodedResult is a work.Result with the JSON of its attempt. The JSON is encoded before
// the writer's loop, which must not wait for it.
type encodedResult struct {
	work.Result
	timings, request, response []byte
}

// Record stores the result of an attempt and returns when it is synced to disk. The
// delivery moves to history, or it waits for its next attempt and no node holds it. The
// attempt is stored even if the result is refused.
//
// Errors: work.ErrNotHeld when the delivery was cancelled or another node took it over;
// CodeUnavailable when the database fails. The caller can then repeat the call.
func (s *Store) Record(r work.Result) error {
	encoded, err := encodeResult(r)
	if err != nil {
		return err
	}
	return s.writer.do(&request{client: r.Item.ClientID, rows: 3, bytes: len(encoded.timings) + len(encoded.request) + len(encoded.response), result: encoded})
}

func encodeResult(r work.Result) (*encodedResult, error) {
	encoded := &encodedResult{Result: r}
	if r.Attempt == nil {
		return encoded, nil
	}
	for _, part := range []struct {
		value any
		into  *[]byte
	}{
		{r.Attempt.Timings, &encoded.timings},
		{r.Attempt.Request, &encoded.request},
		{r.Attempt.Response, &encoded.response},
	} {
		text, err := encodeCompact(part.value)
		if err != nil {
			return nil, fmt.Errorf("encode an attempt's record: %w", err)
		}
		*part.into = text
	}
	return encoded, nil
}

// encodeCompact is json.Marshal without the escapes for HTML. With those, a response of 64 KiB of
// "<" would take six times as much.
func encodeCompact(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
