package herald_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// place is a line of docs/spec that can be cited: a heading with a number, an item
	// of a list, a row of a table.
	place = regexp.MustCompile(`^(#+ |\| |)([AB]?\d+(?:\.\d+)?)(\. | \| | )`)
	// cited is "section 5.3", "section 5.6, item 7", "section 5.3, rows 15 and 16",
	// "sections 4.3 item 8 and 5.1", "decisions A11 and A12" or "checks B6 to B9".
	cited = regexp.MustCompile(strings.NewReplacer("POINT", `\d+(?:\.\d+)*(?:,? item \d+|,? rows? \d+(?: and \d+)?)?`, "MORE", `(?:,? and |, | to )`).
		Replace(`\b(?:(spec )?section(?: POINT|s POINT(?:MOREPOINT)*)|(decision|check)s? [AB]\d+(?:MORE[AB]\d+)*)`))
	part     = regexp.MustCompile(`rows? (\d+(?: and \d+)?)|([AB]\d+)|(\d+(?:\.\d+)?)(?:(?:,? item |\.)(\d+))?`)
	otherDoc = regexp.MustCompile(`RFC \d+[^;]*$`) // in the sentence, before what is cited
)

// TestEveryCitedSectionOfTheSpecificationExists holds the comments and strings of
// the module against docs/spec.
func TestEveryCitedSectionOfTheSpecificationExists(t *testing.T) {
	places := make(map[string]bool)
	for _, page := range []string{"rules", "consumers", "decisions"} {
		text, err := os.ReadFile("docs/spec/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		section := ""
		for _, line := range strings.Split(string(text), "\n") {
			m := place.FindStringSubmatch(line)
			switch {
			case m == nil:
			case m[1] == "| ":
				places[strings.TrimSpace(section+" row "+m[2])] = true // decisions stand under no number
			case m[1] != "":
				section = m[2]
				places[section] = true
			case m[3] == ". ":
				places[section+" item "+m[2]] = true
			}
		}
	}
	found := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		check := func(text string, at token.Pos) {
			for _, name := range citations(text) {
				found++
				if !places[name] {
					t.Errorf("%s cites %s, and docs/spec has no such place", files.Position(at), name)
				}
			}
		}
		for _, comment := range file.Comments {
			check(comment.Text(), comment.Pos())
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok {
				check(literal.Value, literal.Pos())
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 50 {
		t.Errorf("only %d citations were found; the code has more, so they are not recognised", found)
	}
}

// citations returns the places that a text cites. A section is the specification's
// unless the sentence names an RFC before it.
func citations(text string) []string {
	text = strings.Join(strings.Fields(text), " ") // a line may end within a citation
	var all []string
	for _, m := range cited.FindAllStringSubmatchIndex(text, -1) {
		sentence := text[strings.LastIndex(text[:m[0]], ". ")+1 : m[0]]
		if m[2] < 0 && m[4] < 0 && otherDoc.MatchString(sentence) {
			continue
		}
		section := ""
		for _, n := range part.FindAllStringSubmatch(text[m[0]:m[1]], -1) {
			switch {
			case strings.HasPrefix(n[0], "row"):
				for _, row := range strings.Split(n[1], " and ") {
					all = append(all, section+" row "+row)
				}
			case n[2] != "":
				all = append(all, "row "+n[2])
			default:
				section = n[3]
				all = append(all, strings.TrimSuffix(section+" item "+n[4], " item "))
			}
		}
	}
	return all
}
