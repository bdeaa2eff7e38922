package herald_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport lists, for each package of the module, which of the module's packages it may import.
// Every package with Go files must have a row.
var mayImport = map[string][]string{
	// The domain and the pure packages.
	"herald":                    {},
	"herald/internal/work":      {"herald"},
	"herald/internal/catalogue": {"herald"},
	"herald/internal/policy":    {"herald"},
	"herald/internal/query":     {"herald"},
	"herald/internal/pace":      {},
	"herald/internal/fairqueue": {"herald", "herald/internal/work"},
	"herald/internal/clock":     {},
	"herald/internal/safetext":  {},
	"herald/internal/memory":    {},
	"herald/internal/explain":   {"herald"},
	"herald/internal/settings":  {"herald", "herald/internal/catalogue"},

	// The engine.
	"herald/internal/clientcache": {"herald", "herald/internal/catalogue", "herald/internal/work"},
	"herald/internal/intake":      {"herald", "herald/internal/catalogue", "herald/internal/clientcache", "herald/internal/memory", "herald/internal/work"},
	"herald/internal/delivery": {"herald", "herald/internal/clientcache", "herald/internal/consent", "herald/internal/fairqueue", "herald/internal/mail",
		"herald/internal/memory", "herald/internal/policy", "herald/internal/safetext", "herald/internal/webhook", "herald/internal/work"},
	"herald/internal/store":   {"herald", "herald/internal/clock", "herald/internal/egress", "herald/internal/memory", "herald/internal/policy", "herald/internal/query", "herald/internal/safetext", "herald/internal/secret", "herald/internal/work"},
	"herald/internal/consent": {"herald", "herald/internal/pace", "herald/internal/safetext", "herald/internal/webhook", "herald/internal/work"},

	// Packages that reach the file system or the network.
	"herald/internal/secret":      {},
	"herald/internal/certificate": {},
	"herald/internal/localfault":  {},
	"herald/internal/egress":      {"herald", "herald/internal/pace"},
	"herald/internal/webhook":     {"herald", "herald/internal/egress", "herald/internal/localfault", "herald/internal/safetext", "herald/internal/secret"},
	"herald/internal/mail":        {"herald", "herald/internal/localfault", "herald/internal/safetext", "herald/internal/work"},

	// The API.
	"herald/internal/api":             {"herald", "herald/internal/memory", "herald/internal/secret"},
	"herald/internal/api/openapi":     {"herald", "herald/internal/api"},
	"herald/internal/api/codat":       {"herald", "herald/internal/api", "herald/internal/api/openapi", "herald/internal/catalogue", "herald/internal/query", "herald/internal/settings"},
	"herald/internal/api/native":      {"herald", "herald/internal/api", "herald/internal/api/openapi", "herald/internal/catalogue", "herald/internal/egress", "herald/internal/explain", "herald/internal/query"},
	"herald/internal/portal":          {"herald", "herald/internal/api", "herald/internal/catalogue", "herald/internal/devinbox", "herald/internal/explain", "herald/internal/query", "herald/internal/settings"},
	"herald/internal/api/welcome":     {"herald", "herald/internal/api"},
	"herald/internal/api/unsubscribe": {"herald", "herald/internal/api", "herald/internal/secret"},
	"herald/internal/ratelimit":       {"herald", "herald/internal/api"},
	"herald/internal/notify":          {"herald", "herald/internal/explain"},

	// The program.
	"herald/internal/app": {"herald", "herald/internal/api", "herald/internal/api/codat", "herald/internal/api/native", "herald/internal/api/openapi",
		"herald/internal/api/unsubscribe", "herald/internal/api/welcome", "herald/internal/catalogue", "herald/internal/certificate", "herald/internal/clientcache", "herald/internal/clock", "herald/internal/consent", "herald/internal/delivery",
		"herald/internal/egress", "herald/internal/intake", "herald/internal/mail", "herald/internal/notify", "herald/internal/policy", "herald/internal/portal", "herald/internal/ratelimit", "herald/internal/secret",
		"herald/internal/store", "herald/internal/webhook"},
	"herald/client":            {"herald"},
	"herald/internal/cli":      {"herald", "herald/client", "herald/internal/explain"},
	"herald/internal/devinbox": {"herald/client"},
	"herald/cmd/herald": {"herald", "herald/client", "herald/internal/app", "herald/internal/catalogue", "herald/internal/cli", "herald/internal/egress", "herald/internal/explain",
		"herald/internal/devinbox", "herald/internal/mail", "herald/internal/memory", "herald/internal/policy", "herald/internal/safetext", "herald/internal/secret"},
	"herald/examples/receiver-go": {},

	// Packages for tests and measurements only. No package above imports them.
	"herald/internal/test/browser":  {},
	"herald/internal/test/bench":    {"herald", "herald/client", "herald/internal/secret", "herald/internal/test/postgres"},
	"herald/internal/test/crash":    {"herald", "herald/client"},
	"herald/internal/test/dns":      {},
	"herald/internal/test/postgres": {},
}

func TestImportsPointOneWay(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := strings.TrimSuffix("herald/"+filepath.ToSlash(filepath.Dir(path)), "/.")
		allowed, listed := mayImport[from]
		if !listed {
			t.Errorf("%s: package %s is not in mayImport; say what it may import", path, from)
		}
		for _, spec := range file.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if (to == "herald" || strings.HasPrefix(to, "herald/")) && !slices.Contains(allowed, to) {
				t.Errorf("%s: package %s may not import %s", path, from, to)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryFaultHasItsTests compares docs/reference/faults.md with the tests that exist.
func TestEveryFaultHasItsTests(t *testing.T) {
	text, err := os.ReadFile("docs/reference/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declared := range file.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok {
				tests[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named, faults, rows := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`"), 0, 0
	for _, line := range strings.Split(string(text), "\n") {
		names := named.FindAllStringSubmatch(line, -1)
		if regexp.MustCompile(`^\d+\. \*\*`).MatchString(line) {
			if faults++; !strings.HasPrefix(line, strconv.Itoa(faults)+". ") {
				t.Errorf("fault %d is numbered %.5q", faults, line)
			}
		}
		if row := regexp.MustCompile(`^\| (\d+) \|`).FindStringSubmatch(line); row != nil {
			if rows++; row[1] != strconv.Itoa(rows) || len(names) == 0 {
				t.Errorf("row %d of the tests is fault %s, with the tests %v", rows, row[1], names)
			}
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("docs/reference/faults.md names %s, and there is no such test", name[1])
			}
		}
	}
	if faults != rows || faults == 0 {
		t.Errorf("%d faults, and %d rows with their tests", faults, rows)
	}
}
