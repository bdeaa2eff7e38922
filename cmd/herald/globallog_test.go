package main

import (
	"bytes"
	"encoding/json"
	"log"
	"strings"
	"testing"
)

// TestGlobalLoggerWritesInTheFormatOfTheLog: what a library writes with the global logger is one bounded
// line of the service's log.
func TestGlobalLoggerWritesInTheFormatOfTheLog(t *testing.T) {
	var out bytes.Buffer
	global := log.New(globalLog{newLogger(&out, "json", "info")}, "", 0)
	global.Printf("Unsolicited response starting with %s", "\x1b[2J\x00\n\xff"+strings.Repeat("x", 1<<20))
	var line struct{ Level, Text string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %.200q", err, out.String())
	}
	if line.Level != "WARN" || !strings.HasPrefix(line.Text, "Unsolicited response") || len(line.Text) > maxGlobalLine || strings.ContainsAny(line.Text, "\x1b\x00\n") {
		t.Errorf("%+v", line)
	}
}
