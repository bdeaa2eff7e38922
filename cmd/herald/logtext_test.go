package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"testing"
	"time"
)

// FuzzALogLineIsThatOfTheStandardHandler: whatever a record has, its line is the one of slog.TextHandler.
func FuzzALogLineIsThatOfTheStandardHandler(f *testing.F) {
	for i, text := range []string{"request", "", "POST /events", "a=b", `say "no"`, `back\slash`, `both \ and "`, "line\nbreak", "tab\t", "\x7f", "<>&", "ü", "\u00a0", "\u2028", "\xff", "🦊"} {
		f.Add("request", "key", text, int64(i), float64(i)/3, int64(i)*1_700_000_000_123_456_789/16)
		f.Add(text, text, "value", int64(-i), -1e-9*float64(i), int64(i)*1_000_000)
	}
	f.Add("attempt", "status", "delivered", int64(math.MinInt64), math.Inf(1), int64(999_999_999))
	f.Add("attempt", "status", "delivered", int64(math.MaxInt64), math.NaN(), int64(-1))
	f.Fuzz(func(t *testing.T, message, key, text string, n int64, x float64, nanoseconds int64) {
		at := time.Unix(0, nanoseconds).In(time.FixedZone("", int(n%86_400)))
		records := [][]slog.Attr{
			{},
			{slog.String(key, text), slog.Int64(key, n), slog.Float64("x", x), slog.String("a", "b"), slog.Int("c", 1), slog.String("d", text), slog.String(text, key)},
			{slog.String("a", "b"), slog.Uint64(key, uint64(n)), slog.Duration("d", time.Duration(n)), slog.Time("t", at), slog.Bool("b", n > 0)},
			{slog.Any("error", errors.New(text)), slog.Any("nil", nil), slog.Any("at", &at), {}},
			{slog.Group(key, slog.String("a", text)), slog.String("e", ""), slog.String("", text)},
		}
		for _, attrs := range records {
			for _, with := range []func(slog.Handler) slog.Handler{
				func(h slog.Handler) slog.Handler { return h },
				func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.String(key, text)}) },
				func(h slog.Handler) slog.Handler { return h.WithGroup("g") },
			} {
				for _, when := range []time.Time{{}, at} {
					record := slog.NewRecord(when, slog.Level(n%20), message, 0)
					record.AddAttrs(attrs...)
					var want, got bytes.Buffer
					log := newBufferedLog(&got)
					if err := with(slog.NewTextHandler(&want, nil)).Handle(context.Background(), record); err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(with(newLogger(log, "text", "debug").Handler()).Handle(context.Background(), record), log.Flush()); err != nil {
						t.Fatal(err)
					}
					if got.String() != want.String() {
						t.Errorf("the line is\n%s, want\n%s", got.String(), want.String())
					}
				}
			}
		}
	})
}

// TestLinesOfRequestsAreMadeWithoutTheStandardHandler: otherwise they would cost what they did.
func TestLinesOfRequestsAreMadeWithoutTheStandardHandler(t *testing.T) {
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	record.AddAttrs(slog.String("route", "POST /events"), slog.Int("status", 202), slog.Float64("durationMs", 7.251))
	if line, plain := appendLine(nil, &record); !plain {
		t.Errorf("a line such as %q is left to slog.TextHandler", line)
	}
}

// BenchmarkLogLines measures the two log lines of an event: the request's and the attempt's.
func BenchmarkLogLines(b *testing.B) {
	log := newLogger(newBufferedLog(io.Discard), "text", "info")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(ctx, slog.LevelInfo, "request",
			slog.String("method", "POST"), slog.String("path", "/events"), slog.String("route", "POST /events"),
			slog.Int("status", 202), slog.Float64("durationMs", 7.251), slog.Int64("bytes", 118),
			slog.String("correlationId", "4f0c5f1c1c6f4b6f9c0a5a9b7d3e2f10"), slog.String("remote", "127.0.0.1"),
			slog.String("clientId", "8a210b68-6988-11ed-a1eb-0242ac120002"))
		log.LogAttrs(ctx, slog.LevelInfo, "attempt",
			slog.String("deliveryId", "8a210b68-6988-11ed-a1eb-0242ac120002"), slog.String("clientId", "8a210b68-6988-11ed-a1eb-0242ac120002"),
			slog.String("origin", "https://receiver.example.com"), slog.Int("attempt", 1), slog.String("outcome", "delivered"),
			slog.Int("status", 200), slog.Float64("durationMs", 0.618), slog.String("state", "delivered"))
	}
}
