package deploy_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = "prometheus/herald.rules.yml"
	rulesTestFile = "prometheus/herald.rules.test.yml"
	dashboardFile = "grafana/herald.json"
	runbook       = "docs/how-to/respond-to-alerts.md"
)

// rule is a recording or an alerting rule.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func readRules(t *testing.T) (rules []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) < 10 {
		t.Fatalf("%s has only %d rules", rulesFile, len(rules))
	}
	return rules
}

// TestPromtoolTakesTheRules has promtool check the rules and run their tests.
func TestPromtoolTakesTheRules(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", rulesTestFile}} {
		if said, err := exec.Command("promtool", arguments...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v (Debian's package prometheus has it):\n%s", strings.Join(arguments, " "), err, said)
		}
	}
}

// TestEveryAlertIsTestedBothWays: a rule that never fires, or always, passes half of its tests.
func TestEveryAlertIsTestedBothWays(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert    string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, rulesTestFile)), &file); err != nil {
		t.Fatal(err)
	}
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			fires[c.Alert] = fires[c.Alert] || len(c.Expected) > 0
			quiet[c.Alert] = quiet[c.Alert] || len(c.Expected) == 0
		}
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && (!fires[r.Alert] || !quiet[r.Alert]) {
			t.Errorf("%s: a test in which it fires: %v, one in which it is quiet: %v; want both", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
}

// TestEveryAlertHasItsRunbook: the alert names its section, and the section says what it means, what to
// look at and what to do.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	t.Parallel()
	sections := make(map[string]string)
	for _, section := range strings.Split(read(t, "../"+runbook), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		sections[title] = text
	}
	alerts := 0
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		alerts++
		if want := runbook + "#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s: its runbook is %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s has the summary %q and the severity %q", r.Alert, r.Annotations["summary"], r.Labels["severity"])
		}
		for _, part := range []string{"**It means**", "**Look at**", "**Do**"} {
			if !strings.Contains(sections[r.Alert], part) {
				t.Errorf("the section %s of %s has no %s", r.Alert, runbook, part)
			}
		}
	}
	if len(sections) != alerts {
		t.Errorf("%s has %d sections for %d alerts", runbook, len(sections), alerts)
	}
}

// comparison ends with the operator of the last comparison in an expression.
var comparison = regexp.MustCompile(`^(.*) (?:[<>]=?|[!=]=) [\d\s*.]+$`)

// operands returns the parts of an alert's expression that are compared with numbers. The alert itself
// has no series while all is well; they have.
func operands(t *testing.T, r rule) (parts []string) {
	t.Helper()
	for part := range strings.SplitSeq(strings.Join(strings.Fields(r.Expr), " "), " and ") {
		found := comparison.FindStringSubmatch(part)
		if found == nil {
			t.Fatalf("%s: %q compares nothing with a number", r.Alert, part)
		}
		parts = append(parts, found[1])
	}
	return parts
}

// dashboardQueries returns the queries of the dashboard, with its variables filled in.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Grid    struct{ X, Y, W, H int } `json:"gridPos"`
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Query string } }
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$job", "herald", "$__rate_interval", "1m")
	for _, panel := range dashboard.Panels {
		if panel.Grid.X+panel.Grid.W > 24 || panel.Title == "" {
			t.Errorf("panel %d %q is from %d to %d; a dashboard has 24 columns", panel.ID, panel.Title, panel.Grid.X, panel.Grid.X+panel.Grid.W)
		}
		for _, target := range panel.Targets {
			queries = append(queries, fill.Replace(target.Expr))
		}
	}
	for _, variable := range dashboard.Templating.List {
		if values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(variable.Query); values != nil {
			queries = append(queries, "count by ("+values[2]+") ("+values[1]+")")
		}
	}
	if len(queries) < 20 {
		t.Fatalf("%s has only %d queries", dashboardFile, len(queries))
	}
	for _, query := range queries {
		if strings.Contains(query, "$") {
			t.Errorf("the query %s has a variable that the test does not know", query)
		}
	}
	return queries
}
