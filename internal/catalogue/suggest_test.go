package catalogue

import (
	"strings"
	"testing"

	"herald"
)

func TestMisspeltTypesAreSuggested(t *testing.T) {
	c, err := New([]herald.EventType{{Name: "Invoice paid"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for spelling, want := range map[string]string{
		"Sync Faild":                       "Sync Failed",
		"sync_failed":                      "Sync Failed",
		"SyncFailed":                       "Sync Failed",
		"snyc failed":                      "Sync Failed",
		"Data sync complete":               "Data sync completed",
		"data-sync-completd":               "Data sync completed",
		"data sync":                        "Data sync completed",
		"invoice payed":                    "Invoice paid",
		"INVOICE PAID!":                    "Invoice paid",
		"":                                 "",
		"xy":                               "",
		"something else entirely":          "",
		strings.Repeat("Sync Failed", 1e5): "",
	} {
		if got := c.Suggest(spelling); got != want {
			t.Errorf("%.30q suggests %q, want %q", spelling, got, want)
		}
	}
	if hint := c.Hint("Sync Faild"); hint != ` Did you mean "Sync Failed"?` {
		t.Errorf("the hint is %q", hint)
	}
	if hint := c.Hint("something else entirely"); hint != "" {
		t.Errorf("without a suggestion the hint is %q", hint)
	}
}

// TestEveryTypeIsSuggestedForASlip drops each character of each name in turn.
func TestEveryTypeIsSuggestedForASlip(t *testing.T) {
	c, err := New(nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range c.Types() {
		for i := range len(kind.Name) {
			slip := kind.Name[:i] + kind.Name[i+1:]
			if _, known := c.Lookup(slip); known {
				continue
			}
			if got := c.Suggest(slip); got != kind.Name {
				t.Errorf("%q suggests %q, want %q", slip, got, kind.Name)
			}
		}
	}
}
