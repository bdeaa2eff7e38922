package herald_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

// TestLinksInTheDocsLeadSomewhere follows every relative link of every Markdown
// file to a file, and every anchor to a heading. A page that is moved or a heading
// that is reworded would break them, and nobody would see it.
func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	broken, followed := followLinks(t, os.DirFS("."))
	for _, text := range broken {
		t.Error(text)
	}
	if followed < 50 {
		t.Errorf("only %d links were found; the docs have more, so they are not recognised", followed)
	}
}

// TestBrokenLinksAreFound tries the test above on links of every form.
func TestBrokenLinksAreFound(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tree := fstest.MapFS{
		"code.go": file("package code\n"),
		"docs/page.md": file("# The `page` of *A & B*\n\n## Twice\n\n## Twice\n\n```sh\n# no heading\n```\n" +
			"## A [link](https://example.com), 2.1\n"),
		"README.md": file(strings.Join([]string{
			"[good](docs/page.md) [good](docs/page.md#the-page-of-a--b) [good](docs/page.md#twice-1) [good](code.go)",
			"[good](docs/page.md#a-link-21) [good](docs) [good](<code.go>) [good](code.go \"title\") [good](#own)",
			"[elsewhere](https://example.com/x#y) [mail](mailto:a@b.example)",
			"`[code](none.md)`",
			"```", "[code](none.md)", "```",
			"# Own",
			"[1](docs/none.md) [2](docs/page.md#none) [3](#none) [4](/docs/page.md) [5](code.go#L1) ![6](none.png)",
			"[7](docs/page.md#no-heading) [8](docs/page.md#twice-2) [9](../README.md)",
			"[10]: none.md",
		}, "\n")),
	}
	broken, _ := followLinks(t, tree)
	var targets []string
	for _, text := range broken {
		targets = append(targets, text[strings.LastIndex(text, " ")+1:])
	}
	want := []string{"docs/none.md", "docs/page.md#none", "#none", "/docs/page.md", "code.go#L1", "none.png",
		"docs/page.md#no-heading", "docs/page.md#twice-2", "../README.md", "none.md"}
	if !slices.Equal(targets, want) {
		t.Errorf("broken links:\n%s\nwant %q", strings.Join(broken, "\n"), want)
	}
}

var (
	fence    = regexp.MustCompile("^ *(```|~~~)")
	codeSpan = regexp.MustCompile("``.*?``|`[^`]*`")
	heading  = regexp.MustCompile(`^ {0,3}#{1,6} +(.*?)[ #]*$`)
	// link is [text](target), with or without a title, or [name]: target.
	link   = regexp.MustCompile(`\]\(<?([^\s()<>]+)>?(?: +"[^"]*")?\)|^ {0,3}\[[^\]]+\]: +<?([^\s<>]+)>?`)
	scheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// followLinks returns a line for each relative link that leads nowhere, and how many
// relative links there are.
func followLinks(t *testing.T, tree fs.FS) (broken []string, followed int) {
	t.Helper()
	pages := make(map[string][]string) // the lines without code
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && name != "." {
			return fs.SkipDir
		}
		if err != nil || path.Ext(name) != ".md" {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		pages[name] = withoutFences(string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(pages))
	for name := range pages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for n, line := range pages[name] {
			for _, m := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
				target := m[1] + m[2]
				if scheme.MatchString(target) {
					continue
				}
				followed++
				if wrong := followLink(tree, pages, name, target); wrong != "" {
					broken = append(broken, fmt.Sprintf("%s:%d: %s: %s", name, n+1, wrong, target))
				}
			}
		}
	}
	return broken, followed
}

// followLink says what is wrong with a link from a page, or "".
func followLink(tree fs.FS, pages map[string][]string, from, target string) string {
	file, anchor, anchored := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	if strings.HasPrefix(file, "/") || !fs.ValidPath(to) {
		return "the link leaves the repository"
	}
	if _, err := fs.Stat(tree, to); err != nil {
		return "there is no such file"
	}
	lines, isPage := pages[to]
	switch {
	case !anchored:
		return ""
	case !isPage:
		return "an anchor leads into a file that has no headings"
	case !slices.Contains(anchors(lines), anchor):
		return "there is no such heading"
	}
	return ""
}

// withoutFences returns a page's lines; those of code blocks are empty.
func withoutFences(text string) []string {
	lines := strings.Split(text, "\n")
	open := ""
	for i, line := range lines {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == "":
			open = m[1]
		case m != nil && m[1] == open:
			open = ""
		case open == "":
			continue
		}
		lines[i] = ""
	}
	return lines
}

// anchors returns the anchors that GitHub gives the headings of a page.
func anchors(lines []string) []string {
	var all []string
	seen := make(map[string]int)
	for _, line := range lines {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		slug := slugOf(m[1])
		anchor := slug
		if n := seen[slug]; n > 0 {
			anchor = fmt.Sprintf("%s-%d", slug, n)
		}
		seen[slug]++
		all = append(all, anchor)
	}
	return all
}

var linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// slugOf follows GitHub's rules: of a link its text, in lower case, blanks as
// hyphens, and of everything else only letters, digits, hyphens and underscores.
func slugOf(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}

// TestReferencePagesNameWhatThereIs compares the reference with the code: settings
// with the variables of the commands, metrics with the names that are registered.
func TestReferencePagesNameWhatThereIs(t *testing.T) {
	for _, c := range []struct {
		page, name string   // a page, and what it is to name
		files      []string // the code that has the names
	}{
		{"docs/reference/configuration.md", `HERALD_[A-Z_]+`, []string{"cmd/herald/serve.go", "cmd/herald/outward.go", "cmd/herald/connection.go", "cmd/herald/secretfiles.go", "cmd/herald/environment.go"}},
		{"docs/reference/metrics-and-logs.md", `herald_[a-z_]+`, []string{"internal/delivery/metrics.go", "internal/delivery/backlog.go", "internal/delivery/outward.go", "internal/store/commit_metrics.go",
			"internal/api/middleware.go", "internal/api/auth.go", "internal/app/connections.go", "internal/app/metrics.go"}},
	} {
		name := regexp.MustCompile(c.name)
		names := func(file string) []string {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return name.FindAllString(string(text), -1)
		}
		var inCode []string
		for _, file := range c.files {
			inCode = append(inCode, names(file)...)
		}
		inPage := names(c.page)
		for _, n := range inCode {
			if !slices.Contains(inPage, n) {
				t.Errorf("%s does not name %s", c.page, n)
			}
		}
		for _, n := range inPage {
			if !slices.Contains(inCode, n) {
				t.Errorf("%s names %s, and there is no such thing", c.page, n)
			}
		}
	}
}
