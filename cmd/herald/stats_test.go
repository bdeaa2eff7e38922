package main

import (
	"testing"

	"herald"
)

func TestLatencyIsSaidAsABound(t *testing.T) {
	var l herald.Latency
	if got := within(l, 0.5); got != "" {
		t.Errorf("without attempts: %q", got)
	}
	l[2], l[7], l[12] = 10, 10, 10
	for part, want := range map[float64]string{0.1: "≤ 50 ms", 0.5: "≤ 2.5 s", 0.99: "> 1m0s"} {
		if got := within(l, part); got != want {
			t.Errorf("%v: %q, want %q", part, got, want)
		}
	}
}
