package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// completions returns what a shell is offered for a command line.
func completions(t *testing.T, line string) []string {
	t.Helper()
	t.Setenv("COMP_LINE", line)
	t.Setenv("COMP_POINT", strconv.Itoa(len(line)))
	_, stdout, _ := command(t)
	return strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
}

func TestTypeNamesAreCompleted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"results":[`+typeJSON+`,{"name":"Invoice paid"}]}`) // fails only when the caller has gone
	}))
	t.Setenv("HERALD_URL", server.URL)
	t.Setenv("HERALD_API_KEY", "k")
	for line, want := range map[string]string{
		`herald rules create Sy`:                            `Sync\ Failed`,
		`herald rules create sync\ f`:                       `sync\ failed`, // as it was begun; any case is accepted
		`herald rules create "Sync F`:                       `Sync Failed`,
		`herald rules create 'inv`:                          `invoice paid`,
		`herald trigger Inv`:                                `Invoice\ paid`,
		`herald types get Inv`:                              `Invoice\ paid`,
		`herald events publish Inv`:                         `Invoice\ paid`,
		`herald deliveries list --type Inv`:                 `Invoice\ paid`,
		`herald deliveries recover --since 2h --type "Invo`: `Invoice paid`,
		`herald rules update ` + ruleID + ` Inv`:            `Invoice\ paid`,
		`herald deliver`:                                    `deliveries`,
	} {
		if got := strings.Join(completions(t, line), "|"); got != want {
			t.Errorf("%s offers %q, want %q", line, got, want)
		}
	}
	t.Setenv("COMP_SHELL", "fish")
	if got := completions(t, `herald rules create Sy`); got[0] != "Sync Failed" {
		t.Errorf("fish is offered %q; it quotes by itself", got)
	}
	t.Setenv("COMP_SHELL", "")
	server.Close()
	if got := completions(t, `herald rules create Push`); len(got) != 2 || got[0] != `Push\ Operation\ Status\ Changed\(\)` {
		t.Errorf("without the service it offers %q, want the built-in types", got)
	}
}
