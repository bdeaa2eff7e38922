package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Bounds of the log lines that wait to be written.
const (
	logWait   = 100 * time.Millisecond // after the first of them
	logBuffer = 32 << 10               // bytes; a line more writes them
)

// bufferedLog writes log lines together, because a system call for each costs more than the line. Lines
// from warnings on, and those before them, are written at once. Close writes the rest. What ends the
// process at once, such as SIGKILL, loses the lines of up to logWait. It is safe for concurrent use.
type bufferedLog struct {
	to io.Writer

	mu    sync.Mutex
	lines []byte
	timer *time.Timer // runs while lines wait
}

func newBufferedLog(to io.Writer) *bufferedLog { return &bufferedLog{to: to} }

// Write keeps a line for later. Its error is that of an earlier line, at the latest.
func (b *bufferedLog) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line...)
	if len(b.lines) >= logBuffer {
		return len(line), b.write()
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(logWait, func() { _ = b.Flush() })
	}
	return len(line), nil
}

// Flush writes the lines that wait.
func (b *bufferedLog) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write()
}

// write writes the lines that wait. The caller holds mu.
func (b *bufferedLog) write() error {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if len(b.lines) == 0 {
		return nil
	}
	_, err := b.to.Write(b.lines)
	if b.lines = b.lines[:0]; cap(b.lines) > 2*logBuffer {
		b.lines = nil // a long line does not keep its memory
	}
	return err
}

// flushingHandler writes what waits in the log as soon as there is a warning.
type flushingHandler struct {
	slog.Handler
	log  *bufferedLog
	text bool // Handler is a slog.TextHandler without attributes and groups of its own
}

func (h flushingHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.handle(ctx, &r)
	if err == nil && r.Level >= slog.LevelWarn {
		err = h.log.Flush()
	}
	return err
}

func (h flushingHandler) handle(ctx context.Context, r *slog.Record) error {
	if h.text {
		var room [512]byte
		if line, plain := appendLine(room[:0], r); plain {
			_, err := h.log.Write(line)
			return err
		}
	}
	return h.Handler.Handle(ctx, *r)
}

func (h flushingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return flushingHandler{Handler: h.Handler.WithAttrs(attrs), log: h.log}
}

func (h flushingHandler) WithGroup(name string) slog.Handler {
	return flushingHandler{Handler: h.Handler.WithGroup(name), log: h.log}
}
