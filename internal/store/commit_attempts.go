package store

import (
	"encoding/binary"
	"errors"
	"math"

	"herald"
)

// The record of an attempt is one value of bytes, because JSON costs more time and room:
// a version, and then the fields in a fixed order. Numbers are varints. A text is its length and its
// bytes, or a number of commonTexts. Lists and maps begin with one more than their length; 0 is nil.
//
// A new field is written after all others. A record that ends before it does not have it, and an older
// version does not read on: so nodes of two versions read each other's. Any other change needs a new version.

const recordVersion = 1

// commonTexts are texts that many attempts have. Records have their places in this list, so it may only
// grow, at its end.
var commonTexts = [...]string{
	"POST", "SMTP", "Content-Type", "application/json; charset=utf-8", "User-Agent", "Accept", "*/*", "Authorization", "Herald-Test", "true",
	"delivered", "retry", "rejected", "unknown",
	"Content-Length", "Date", "Server", "Connection", "Cache-Control", "Vary", "Etag", "X-Request-Id", "Strict-Transport-Security",
	"application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8", "0", "2",
	"To", "Message-ID", "Subject",
}

var commonNumbers = func() map[string]uint64 {
	numbers := make(map[string]uint64, len(commonTexts))
	for i, text := range commonTexts {
		numbers[text] = uint64(i)
	}
	return numbers
}()

// encodeAttempt returns the record of an attempt: all but its delivery and its number.
func encodeAttempt(a *herald.Attempt) []byte {
	w := make(recordWriter, 0, 512)
	w.number(recordVersion)
	w = binary.AppendVarint(w, micros(a.At))
	w.text(string(a.Outcome))
	w = binary.AppendVarint(w, int64(a.Status))
	w.text(string(a.Reason))
	w.text(a.Error)
	for _, t := range timings(&a.Timings) {
		w.milliseconds(*t)
	}
	w.flags(a.Request != nil, a.Response != nil)
	if a.Request != nil {
		w.request(a.Request)
	}
	if r := a.Response; r != nil {
		w.flags(r.Truncated)
		writeMap(&w, r.Headers, func(values []string) { writeList(&w, values, w.text) })
		w.text(r.Body)
		w.text(r.Note)
	}
	return w
}

func timings(t *herald.Timings) [5]*float64 {
	return [...]*float64{&t.DNS, &t.Connect, &t.TLS, &t.FirstByte, &t.Total}
}

type recordWriter []byte

func (w *recordWriter) number(n uint64) { *w = binary.AppendUvarint(*w, n) }

func (w *recordWriter) text(s string) {
	if n, common := commonNumbers[s]; common {
		w.number(n<<1 | 1)
		return
	}
	w.number(uint64(len(s)) << 1)
	*w = append(*w, s...)
}

// milliseconds writes whole microseconds, which nearly all are, or all bits.
func (w *recordWriter) milliseconds(ms float64) {
	if n := math.Round(ms * 1000); n >= 0 && n < 1<<53 && n/1000 == ms && !math.Signbit(ms) {
		w.number(uint64(n) << 1)
		return
	}
	w.number(1)
	*w = binary.LittleEndian.AppendUint64(*w, math.Float64bits(ms))
}

func (w *recordWriter) flags(all ...bool) {
	var n uint64
	for i, set := range all {
		if set {
			n |= 1 << i
		}
	}
	w.number(n)
}

func (w *recordWriter) request(r *herald.RequestRecord) {
	w.flags(r.Unsent, r.Redialled)
	w.text(r.Method)
	w.text(r.URL)
	writeMap(w, r.Headers, w.text)
	writeList(w, r.Hops, func(h herald.Hop) {
		w.flags(h.Unsent)
		*w = binary.AppendVarint(*w, int64(h.Status))
		w.text(h.URL)
		w.text(h.Method)
		writeMap(w, h.Headers, w.text)
		w.text(h.AuthorizationDropped)
	})
}

func writeList[T any](w *recordWriter, all []T, write func(T)) {
	if all == nil {
		w.number(0)
		return
	}
	w.number(uint64(len(all)) + 1)
	for _, one := range all {
		write(one)
	}
}

func writeMap[T any](w *recordWriter, all map[string]T, write func(T)) {
	if all == nil {
		w.number(0)
		return
	}
	w.number(uint64(len(all)) + 1)
	for name, value := range all {
		w.text(name)
		write(value)
	}
}

var errRecord = errors.New("the record of an attempt cannot be read")

// decodeAttempt reads what encodeAttempt wrote.
func decodeAttempt(record []byte) (a herald.Attempt, err error) {
	r := &logReader{rest: record}
	if r.uvarint() != recordVersion {
		return a, errRecord
	}
	a.At = fromMicros(r.varint())
	a.Outcome, a.Status = herald.Outcome(r.text()), int(r.varint())
	a.Reason, a.Error = herald.Reason(r.text()), r.text()
	for _, t := range timings(&a.Timings) {
		*t = r.milliseconds()
	}
	has := r.uvarint()
	if has&1 != 0 {
		a.Request = r.request()
	}
	if has&2 != 0 {
		a.Response = &herald.ResponseRecord{Truncated: r.uvarint() != 0}
		a.Response.Headers = readMap(r, func() []string { return readList(r, r.text) })
		a.Response.Body, a.Response.Note = r.text(), r.text()
	}
	if r.failed {
		return a, errRecord
	}
	return a, nil
}

func (r *logReader) text() string {
	n := r.uvarint()
	if n&1 == 0 {
		return string(r.bytes(n >> 1))
	}
	if n >>= 1; n < uint64(len(commonTexts)) {
		return commonTexts[n]
	}
	r.failed = true
	return ""
}

func (r *logReader) milliseconds() float64 {
	n := r.uvarint()
	if n&1 == 0 {
		return float64(n>>1) / 1000
	}
	if bits := r.bytes(8); bits != nil {
		return math.Float64frombits(binary.LittleEndian.Uint64(bits))
	}
	return 0
}

func (r *logReader) request() *herald.RequestRecord {
	flags := r.uvarint()
	q := &herald.RequestRecord{Unsent: flags&1 != 0, Redialled: flags&2 != 0, Method: r.text(), URL: r.text()}
	q.Headers = readMap(r, r.text)
	q.Hops = readList(r, func() herald.Hop {
		h := herald.Hop{Unsent: r.uvarint() != 0, Status: int(r.varint()), URL: r.text(), Method: r.text()}
		h.Headers, h.AuthorizationDropped = readMap(r, r.text), r.text()
		return h
	})
	return q
}

func readList[T any](r *logReader, read func() T) []T {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	all := []T{}
	for ; n > 1 && !r.failed; n-- {
		all = append(all, read())
	}
	return all
}

func readMap[T any](r *logReader, read func() T) map[string]T {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	all := make(map[string]T)
	for ; n > 1 && !r.failed; n-- {
		name := r.text()
		all[name] = read()
	}
	return all
}
