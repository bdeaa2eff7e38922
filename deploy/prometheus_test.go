package deploy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
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
	"syscall"
	"testing"
	"time"

	"herald/client"
	"herald/internal/devinbox"
)

// TestQueriesFindWhatHeraldExports runs every query of the dashboard and of the rules in a real
// Prometheus that scrapes a Herald with deliveries that succeed, fail and wait, and with mails.
func TestQueriesFindWhatHeraldExports(t *testing.T) {
	t.Parallel()
	const key = "operator-key-for-tests-0123456789abcdef"
	mails := serveMail(t)
	herald := start(t, build(t), []string{"serve"}, map[string]string{
		"HERALD_LISTEN": "127.0.0.1:0", "HERALD_DATA": t.TempDir(), "HERALD_OPERATOR_KEY": key, "HERALD_ALLOW_TARGETS": "127.0.0.0/8",
		"HERALD_RETRY_SCHEDULE": "1h", "HERALD_SMTP": "smtp://" + mails + "?tls=none", "HERALD_MAIL_FROM": "alerts@herald.example", "HERALD_MAIL_LIMIT": "0",
	})
	p := startPrometheus(t, strings.TrimPrefix(herald.address, "http://"))

	left := dashboardQueries(t)
	for _, r := range readRules(t) {
		if left = append(left, r.Expr); r.Alert != "" {
			left = append(left[:len(left)-1], operands(t, r)...)
		} else {
			left = append(left, r.Record) // Prometheus evaluates it by itself
		}
	}
	all := len(left)
	p.eventually(func() string { return p.missing(`herald_ready > 0`) }) // what comes now is an increase
	drive := traffic(t, herald, key)
	p.eventually(func() string {
		drive()
		left = slices.DeleteFunc(left, func(query string) bool { return p.missing(query) == "" })
		if len(left) == 0 {
			return ""
		}
		return fmt.Sprintf("%d of %d queries find nothing: %s", len(left), all, p.missing(left[0]))
	})
	if fault := p.rulesFault(); fault != "" {
		t.Error(fault)
	}
	herald.stop("45s")
}

// traffic makes a client whose receivers succeed, refuse, fail, cannot be reached and are mailboxes. It
// returns what publishes to them.
func traffic(t *testing.T, n *node, operatorKey string) func() {
	t.Helper()
	inbox := httptest.NewServer(devinbox.New(func(devinbox.Received) {}))
	t.Cleanup(inbox.Close)
	account, err := n.client(operatorKey).CreateClient(t.Context(), "Watched")
	if err != nil {
		t.Fatal(err)
	}
	api := n.client(account.APIKey)
	for _, notifiers := range []client.Notifiers{
		{Webhook: inbox.URL + "/hook"}, {Webhook: inbox.URL + "/status/410"}, {Webhook: inbox.URL + "/status/503"},
		{Webhook: "http://127.0.0.1:1/"}, {Emails: []string{"ops@acme.example"}},
	} {
		if _, err := api.CreateRule(t.Context(), client.Rule{Type: "Sync Completed", Notifiers: notifiers}); err != nil {
			t.Fatal(err)
		}
	}
	backup, err := n.client(operatorKey).Backup(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, backup); err != nil {
		t.Fatal(err)
	}
	if err := backup.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := api.Publish(t.Context(), client.Event{Type: "Sync Completed", CompanyID: account.ID, Data: json.RawMessage(`{"syncId":"1","syncType":"Expense"}`)}); err != nil {
			t.Fatal(err)
		}
	}
}

// serveMail starts a mail server that takes every mail, and returns its address.
func serveMail(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- devinbox.New(func(devinbox.Received) {}).ServeMail(listener) }()
	t.Cleanup(func() {
		_ = listener.Close() // that ends ServeMail
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// prometheus is a process of Prometheus.
type prometheus struct {
	t       *testing.T
	address string
}

// startPrometheus starts Prometheus with the rules. It scrapes target twice a second.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [%q]\nscrape_configs:\n- job_name: herald\n  static_configs: [{targets: [%q]}]\n", rules, target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	logFile := filepath.Join(dir, "log")
	log, err := os.Create(logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process := exec.Command("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0")
	process.Dir, process.Stdout, process.Stderr = dir, log, log
	if err := process.Start(); err != nil {
		t.Fatalf("%v; Debian's package prometheus has it", err)
	}
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM) // it has ended, if it cannot be signalled
		if err := process.Wait(); err != nil || t.Failed() {
			t.Logf("prometheus ended: %v\n%.4000s", err, read(t, logFile))
		}
	})
	p := &prometheus{t: t}
	listens := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	p.eventually(func() string {
		if said := listens.FindStringSubmatch(read(t, logFile)); said != nil {
			p.address = "http://" + said[1]
			return ""
		}
		return "Prometheus does not listen"
	})
	return p
}

// eventually waits until fault returns "". After a minute it fails the test with the fault.
func (p *prometheus) eventually(fault func() string) {
	p.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		text := fault()
		if text == "" {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after a minute: %s", text)
		}
	}
}

// get reads the data of an answer of Prometheus' API.
func (p *prometheus) get(path string, data any) error {
	response, err := http.Get(p.address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s answers %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

// missing returns what is wrong with the result of a query: it must have a series whose value is a number.
func (p *prometheus) missing(query string) string {
	var data struct{ Result []struct{ Value [2]any } }
	if err := p.get("/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
		return err.Error()
	}
	for _, series := range data.Result {
		text, _ := series.Value[1].(string)
		if value, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(value) {
			return ""
		}
	}
	return fmt.Sprintf("%s has %d series, none with a number", query, len(data.Result))
}

// rulesFault returns the first rule that Prometheus could not evaluate.
func (p *prometheus) rulesFault() string {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.get("/api/v1/rules", &data); err != nil {
		return err.Error()
	}
	rules := 0
	for _, group := range data.Groups {
		for _, r := range group.Rules {
			if rules++; r.Health != "ok" {
				return fmt.Sprintf("the rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := len(readRules(p.t)); rules != want {
		return fmt.Sprintf("Prometheus evaluates %d rules, want %d", rules, want)
	}
	return ""
}
