package herald_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the direction of the arrows: which of the module's packages each
// package may import. Packages that are not listed may import nothing of it.
var mayImport = map[string][]string{
	"herald":                          {},
	"herald/internal/catalogue":       {"herald"},
	"herald/internal/policy":          {"herald"},
	"herald/internal/query":           {"herald"},
	"herald/internal/secret":          {},
	"herald/internal/dnstest":         {},
	"herald/internal/egress":          {"herald"},
	"herald/internal/turns":           {"herald"},
	"herald/internal/webhook":         {"herald", "herald/internal/egress", "herald/internal/secret"},
	"herald/internal/directory":       {"herald", "herald/internal/catalogue"},
	"herald/internal/intake":          {"herald", "herald/internal/catalogue", "herald/internal/directory"},
	"herald/internal/delivery":        {"herald", "herald/internal/directory", "herald/internal/mail", "herald/internal/policy", "herald/internal/turns", "herald/internal/webhook"},
	"herald/internal/mail":            {"herald"},
	"herald/internal/store":           {"herald", "herald/internal/query", "herald/internal/secret"},
	"herald/internal/api":             {"herald", "herald/internal/secret"},
	"herald/internal/api/codat":       {"herald", "herald/internal/api", "herald/internal/catalogue", "herald/internal/query"},
	"herald/internal/api/unsubscribe": {"herald", "herald/internal/api", "herald/internal/secret"},
	"herald/internal/api/own":         {"herald", "herald/internal/api", "herald/internal/catalogue", "herald/internal/query"},
	"herald/internal/certificate":     {},
	"herald/internal/limit":           {"herald", "herald/internal/api"},
	"herald/internal/inbox":           {},
	"herald/internal/pgtest":          {},
	"herald/internal/ledger":          {"herald", "herald/client"},
	"herald/internal/app": {"herald", "herald/internal/api", "herald/internal/api/codat", "herald/internal/api/own", "herald/internal/api/unsubscribe", "herald/internal/catalogue",
		"herald/internal/certificate", "herald/internal/delivery", "herald/internal/directory", "herald/internal/egress", "herald/internal/intake", "herald/internal/limit", "herald/internal/mail",
		"herald/internal/policy", "herald/internal/secret", "herald/internal/store", "herald/internal/webhook"},
	"herald/client":               {"herald"},
	"herald/internal/cli":         {"herald", "herald/client"},
	"herald/internal/bench":       {"herald", "herald/client", "herald/internal/pgtest", "herald/internal/secret"},
	"herald/examples/receiver-go": {},
	"herald/cmd/herald": {"herald", "herald/client", "herald/internal/app", "herald/internal/cli", "herald/internal/inbox",
		"herald/internal/egress", "herald/internal/mail", "herald/internal/policy", "herald/internal/secret"},
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
