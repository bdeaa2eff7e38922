package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the test adds thousands of rules to the database itself

	"herald"
	"herald/client"
)

// The memory of the whole program: the process runs with a soft limit as a container of 1 GB gives
// it, and may never have more than a container's memory.
const (
	softLimit  = 512 << 20
	mostMemory = 800 << 20
)

// program is a process of herald with its SQLite database.
type program struct {
	t       *testing.T
	binary  string
	dir     string
	address string
	process *exec.Cmd
	log     *os.File
	extra   []string
}

func buildProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, binary: filepath.Join(t.TempDir(), "herald"), dir: t.TempDir()}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", p.binary, "herald/cmd/herald").CombinedOutput(); err != nil {
		t.Fatalf("build herald: %v: %s", err, out)
	}
	t.Cleanup(func() { p.stop(syscall.SIGKILL) })
	return p
}

var servesAt = regexp.MustCompile(`msg="herald serves" address=(http://\S+)`)

func (p *program) start() {
	p.t.Helper()
	var err error
	if p.log, err = os.CreateTemp(p.t.TempDir(), "log"); err != nil {
		p.t.Fatal(err)
	}
	p.process = exec.CommandContext(context.WithoutCancel(p.t.Context()), p.binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", p.dir, "--drain-delay", "0s", "--stop-budget", "2s",
		"--allow-target", "127.0.0.0/8", "--retry-schedule", "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s"}, p.extra...)...)
	p.process.Env = append(os.Environ(), "HERALD_OPERATOR_KEY="+operatorKey, "GOMEMLIMIT="+strconv.Itoa(softLimit))
	p.process.Stderr = p.log
	if err := p.process.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "herald serves", func() bool {
		text, err := os.ReadFile(p.log.Name())
		found := servesAt.FindSubmatch(text)
		if err != nil || found == nil {
			return false
		}
		p.address = string(found[1])
		return true
	})
}

// stop ends the process with a signal and waits for it.
func (p *program) stop(signal syscall.Signal) {
	if p.process == nil {
		return
	}
	_ = p.process.Process.Signal(signal)
	_ = p.process.Wait() // the signal is its error
	p.process = nil
	p.log.Close()
}

// peak returns the most physical memory that the process had since the last call of forget.
func (p *program) peak() int {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.Process.Pid))
	if err != nil {
		p.t.Fatalf("the process has ended: %v", err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		p.t.Fatalf("no VmHWM in %s", text)
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	if err != nil {
		p.t.Fatal(err)
	}
	return kilobytes << 10
}

// forget makes the present memory the peak.
func (p *program) forget() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.process.Process.Pid), []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
}

// do makes a request and returns the status and up to 4 KiB of the answer. It reads the rest.
func (p *program) do(method, path, key string, body []byte) (int, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.address+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer response.Body.Close()
	start, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err != nil {
		p.t.Errorf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, string(start)
}

// answered is do, and asks again while the answer is a 503: on a busy machine a list may take longer
// than it may.
func (p *program) answered(path, key string) int {
	status := http.StatusServiceUnavailable
	eventually(p.t, "GET "+path+" is answered", func() bool {
		status, _ = p.do("GET", path, key, nil)
		return status != http.StatusServiceUnavailable
	})
	return status
}

// together makes n requests at once and counts the statuses.
func (p *program) together(n int, do func(i int) int) map[int]int {
	statuses := make(map[int]int)
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
	)
	for i := range n {
		wait.Go(func() {
			status := do(i)
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wait.Wait()
	return statuses
}

// addRules writes rules into the database of a process that has ended.
func (p *program) addRules(clientID uuid.UUID, n int, rule func(i int) herald.Rule) {
	p.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(p.dir, "herald.db"))
	if err != nil {
		p.t.Fatal(err)
	}
	tx, err := db.BeginTx(p.t.Context(), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range n {
		r, id := rule(i), herald.NewID()
		emails, err := json.Marshal(append([]string{}, r.Emails...))
		if err == nil {
			_, err = tx.ExecContext(p.t.Context(), `INSERT INTO rules (client_id, id, type, posted_type, webhook, emails, send_auth) VALUES ($1, $2, $3, $3, $4, $5, 1)`,
				clientID[:], id[:], "Sync Completed", r.Webhook, string(emails))
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	if err := errors.Join(tx.Commit(), db.Close()); err != nil {
		p.t.Fatal(err)
	}
}

// eventOf returns an event with data of some bytes.
func eventOf(clientID uuid.UUID, bytes int, message string) []byte {
	text, err := json.Marshal(map[string]any{
		"type": "Sync Completed", "clientId": clientID, "companyId": uuid.New(), "message": message,
		"data": map[string]string{"syncId": "s", "syncType": "t", "more": strings.Repeat("x", bytes)},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// slowReceiver takes webhooks on every address of the loopback network. While it hangs, it reads
// nothing and answers nothing.
type slowReceiver struct {
	port    string
	hangs   atomic.Bool
	waiting atomic.Int64
	release chan struct{}
	taken   atomic.Int64
}

func newSlowReceiver(t *testing.T) *slowReceiver {
	r := &slowReceiver{release: make(chan struct{})}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		if r.hangs.Load() {
			r.waiting.Add(1)
			<-r.release
			return
		}
		if _, err := io.Copy(io.Discard, q.Body); err == nil {
			r.taken.Add(1)
		}
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	r.port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	return r
}

// TestMemoryOfTheWholeProgram makes every request of a table of the worst. Each time the process
// lives, answers as it should, and has less memory than a small container.
func TestMemoryOfTheWholeProgram(t *testing.T) {
	p := buildProgram(t)
	receiver := newSlowReceiver(t)
	mails := newMailServer(t)
	p.extra = []string{"--smtp", "smtp://" + mails.listener.Addr().String() + "?tls=none", "--mail-from", "alerts@herald.example", "--mail-limit", "0"}
	p.start()
	accounts := make(map[string]client.Account)
	for _, name := range []string{"many rules", "many mailboxes", "no receivers", "many receivers", "one mailbox list"} {
		_, text := p.do("POST", "/clients", operatorKey, []byte(`{"name":"`+name+`"}`))
		var made client.Account
		if err := json.Unmarshal([]byte(text), &made); err != nil || made.ID == uuid.Nil {
			t.Fatalf("make a client: %s, %v", text, err)
		}
		accounts[name] = made
	}
	p.stop(syscall.SIGTERM)
	webhook := func(host string) string { return "http://" + net.JoinHostPort(host, receiver.port) + "/hook" }
	fifty := make([]string, 50)
	for i := range fifty {
		fifty[i] = fmt.Sprintf("box%d@acme.example", i)
	}
	p.addRules(accounts["many rules"].ID, 1000, func(int) herald.Rule { return herald.Rule{Webhook: webhook("127.0.0.1")} })
	p.addRules(accounts["many mailboxes"].ID, 2000, func(int) herald.Rule { return herald.Rule{Emails: fifty} })
	p.addRules(accounts["no receivers"].ID, 5000, func(int) herald.Rule { return herald.Rule{} })
	p.addRules(accounts["many receivers"].ID, 40, func(i int) herald.Rule { return herald.Rule{Webhook: webhook(fmt.Sprintf("127.0.1.%d", i+1))} })
	p.addRules(accounts["one mailbox list"].ID, 1, func(int) herald.Rule { return herald.Rule{Emails: fifty} })
	p.start()

	rules, key := accounts["many rules"], func(name string) string { return accounts[name].APIKey }
	var event string // of many rules
	for _, row := range []struct {
		name string
		run  func() map[int]int
		want []int // the statuses that there may be; the first must be there
	}{
		{"an event of 1 MiB on 1,000 rules", func() map[int]int {
			status, text := p.do("POST", "/events", operatorKey, eventOf(rules.ID, 1_000_000, ""))
			var receipt herald.Receipt
			if err := json.Unmarshal([]byte(text[:strings.Index(text, `,"alertCount"`)]+"}"), &receipt); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			event = receipt.EventID.String()
			eventually(t, "all are delivered", func() bool { return receiver.taken.Load() == 1000 })
			return map[int]int{status: 1}
		}, []int{202}},
		{"a page of 1,000 alerts of 1 MiB", func() map[int]int {
			return p.together(10, func(int) int { return p.answered("/rules/alerts?pageSize=1000", rules.APIKey) })
		}, []int{400}},
		{"the same, searched", func() map[int]int {
			return p.together(10, func(int) int {
				return p.answered("/rules/alerts?pageSize=1000&query="+url.QueryEscape("message~Sync"), rules.APIKey)
			})
		}, []int{400}},
		{"twenty pages that fit, at once", func() map[int]int {
			return p.together(20, func(int) int {
				status, _ := p.do("GET", "/rules/alerts?pageSize=15", rules.APIKey, nil)
				return status
			})
		}, []int{200, 503}},
		{"the event, many times at once", func() map[int]int {
			return p.together(50, func(int) int {
				status, _ := p.do("GET", "/events/"+event, rules.APIKey, nil)
				return status
			})
		}, []int{200, 503}},
		{"events that make two million deliveries", func() map[int]int {
			events := bytes.Repeat(append(eventOf(accounts["many mailboxes"].ID, 10, ""), ','), 20)
			return p.together(5, func(int) int {
				status, _ := p.do("POST", "/events", operatorKey, append(append([]byte{'['}, events[:len(events)-1]...), ']'))
				return status
			})
		}, []int{409}},
		{"long messages on many rules, at once", func() map[int]int {
			return p.together(40, func(int) int {
				status, _ := p.do("POST", "/events", operatorKey, eventOf(accounts["no receivers"].ID, 10, strings.Repeat("x", 2000)))
				return status
			})
		}, []int{202, 503}},
		{"messages that are escaped in JSON", func() map[int]int {
			return p.together(10, func(int) int {
				status, _ := p.do("POST", "/events", operatorKey, eventOf(accounts["no receivers"].ID, 10, strings.Repeat("\x01", 2000)))
				return status
			})
		}, []int{409}},
		{"the largest publishes, at once", func() map[int]int {
			one := append(eventOf(accounts["one mailbox list"].ID, 1_000_000, ""), ',')
			one = bytes.Replace(one, []byte("Sync Completed"), []byte("Sync Started"), 1) // which no rule meets
			events := bytes.Repeat(one, 16)
			return p.together(12, func(int) int {
				status, _ := p.do("POST", "/events", operatorKey, append(append([]byte{'['}, events[:len(events)-1]...), ']'))
				return status
			})
		}, []int{202, 503}},
		{"data of many members, at once", func() map[int]int {
			var members strings.Builder
			for i := range 80_000 {
				fmt.Fprintf(&members, `,"m%06x":1`, i)
			}
			one := eventOf(accounts["one mailbox list"].ID, 0, "")
			one = bytes.Replace(one, []byte(`"more":""`), []byte(`"more":""`+members.String()), 1)
			one = bytes.Replace(one, []byte("Sync Completed"), []byte("Sync Started"), 1) // which no rule meets
			return p.together(20, func(int) int {
				status, _ := p.do("POST", "/events", operatorKey, one)
				return status
			})
		}, []int{202, 503}},
		{"a list of events of 1 MiB", func() map[int]int {
			return p.together(20, func(int) int {
				status, _ := p.do("GET", "/events?limit=500", key("one mailbox list"), nil)
				return status
			})
		}, []int{200, 503}},
		{"a megabyte of blanks in a type", func() map[int]int {
			rule := []byte(`{"type":"` + strings.Repeat(" ", 500_000) + `Sync Completed` + strings.Repeat(" ", 500_000) + `"}`)
			return p.together(60, func(int) int {
				status, _ := p.do("POST", "/rules", key("many receivers"), rule)
				return status
			})
		}, []int{200}},
		{"a megabyte of commas in a mailbox", func() map[int]int {
			rule := []byte(`{"type":"Sync Completed","notifiers":{"emails":["a@acme.example` + strings.Repeat(",", 1_000_000) + `"]}}`)
			return p.together(20, func(int) int {
				status, _ := p.do("POST", "/rules", key("many receivers"), rule)
				return status
			})
		}, []int{400}},
		{"mails of events of 1 MiB", func() map[int]int {
			status, _ := p.do("POST", "/events", operatorKey, eventOf(accounts["one mailbox list"].ID, 1_000_000, ""))
			eventually(t, "all mails are sent", func() bool { return len(mails.got("box0@acme.example"))+len(mails.got("box49@acme.example")) == 2 })
			return map[int]int{status: 1}
		}, []int{202}},
		{"a backlog of events of 1 MiB after a kill", func() map[int]int {
			receiver.hangs.Store(true)
			statuses := p.together(20, func(int) int {
				status, _ := p.do("POST", "/events", operatorKey, eventOf(accounts["many receivers"].ID, 1_000_000, ""))
				return status
			})
			eventually(t, "attempts are under way", func() bool { return receiver.waiting.Load() > 5 })
			before := receiver.waiting.Load()
			p.stop(syscall.SIGKILL)
			p.start()
			eventually(t, "attempts are under way again", func() bool { return receiver.waiting.Load() > before+20 })
			already := receiver.taken.Load()
			receiver.hangs.Store(false)
			close(receiver.release)
			eventually(t, "the backlog is delivered", func() bool { return receiver.taken.Load() > already+300 })
			return statuses
		}, []int{202}},
	} {
		p.forget()
		began := time.Now()
		got := row.run()
		peak := p.peak()
		t.Logf("%-45s %3d MiB, %v, %v", row.name, peak>>20, got, time.Since(began).Round(time.Millisecond))
		if peak > mostMemory {
			t.Errorf("%s: the process had %d MiB, want at most %d", row.name, peak>>20, mostMemory>>20)
		}
		if got[row.want[0]] == 0 {
			t.Errorf("%s: %v, want at least one %d", row.name, got, row.want[0])
		}
		for status, n := range got {
			if !slices.Contains(row.want, status) {
				t.Errorf("%s: %d answers are %d, want none but %v", row.name, n, status, row.want)
			}
		}
	}
}
