package intake

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAnOriginIsParsedOnce(t *testing.T) {
	parsed := 0
	o := origins{parse: func(address string) (string, error) {
		if parsed++; address == "" {
			return "", errors.New("empty")
		}
		return "origin of " + address, nil
	}}
	for range 3 {
		if got, err := o.of("a"); got != "origin of a" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	for range 2 {
		if _, err := o.of(""); err == nil {
			t.Error("no error the second time")
		}
	}
	if parsed != 3 {
		t.Errorf("parsed %d times, want 1 and, for what fails, 2", parsed)
	}
}

func TestRememberedOriginsAreBounded(t *testing.T) {
	o := origins{parse: func(string) (string, error) { return "https://receiver.example:443", nil }}
	long := strings.Repeat("x", 2000)
	for i := range 3 * maxOriginBytes / len(long) {
		if _, err := o.of(fmt.Sprint(i, long)); err != nil {
			t.Fatal(err)
		}
		held := 0
		for address, origin := range o.known {
			if held += len(address) + len(origin); i%500 != 0 {
				break
			}
		}
		if held > maxOriginBytes || o.bytes > maxOriginBytes+3000 {
			t.Fatalf("%d bytes are held, %d are counted", held, o.bytes)
		}
	}
}
