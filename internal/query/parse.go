package query

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on a query.
const (
	// MaxLength is the largest number of characters (spec section 4.1).
	MaxLength = 2047
	// MaxDepth is how deep braces may be nested.
	MaxDepth = 50
)

// Where one operator begins with another, the longer one comes first.
var (
	comparisons = []Op{NotEqual, GreaterOrEqual, LessOrEqual, Equal, Contains, Greater, Less}
	tokens      = []string{"!=", ">=", "<=", "&&", "||", "=", "~", ">", "<", "{", "}"}
)

// Parse parses a query over the members of a schema. Every error is a *SyntaxError about
// the first fault in the text.
func Parse(text string, s Schema) (Node, error) {
	if n := utf8.RuneCountInString(text); n > MaxLength {
		return nil, malformed("the query has %d characters; at most %d are taken", n, MaxLength)
	}
	text, err := decodeAgain(text)
	if err != nil {
		return nil, err
	}
	// No stored text has either, and PostgreSQL refuses to compare with them.
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, malformed("the query is not UTF-8, or has a NUL in it")
	}
	p := parser{schema: s, text: text}
	tree, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.pos < len(p.text) {
		return nil, p.unexpected("&&, || or the end")
	}
	return tree, nil
}

// decodeAgain decodes a text that was percent-encoded twice, as in one of the vendor's
// examples (spec section 4.3 item 5). It leaves texts with a comparison alone. A text without
// a comparison is no query, so no valid query changes.
func decodeAgain(text string) (string, error) {
	if strings.ContainsAny(text, "=~<>") || !strings.Contains(strings.ToUpper(text), "%3D") {
		return text, nil
	}
	decoded, err := url.QueryUnescape(text)
	if err != nil {
		return "", malformed("the query is percent-encoded twice, and the second time wrongly: %v", err)
	}
	return decoded, nil
}

// parser reads text from pos on. The method for a part of the grammar starts at the blanks
// before that part. It ends after the part and the blanks that follow.
type parser struct {
	schema Schema
	text   string
	pos    int // in bytes
	depth  int // of open braces
}

func (p *parser) expression() (Node, error) {
	tree, err := p.conjunction()
	if err != nil {
		return nil, err
	}
	for p.accept("||") {
		right, err := p.conjunction()
		if err != nil {
			return nil, err
		}
		tree = Or{tree, right}
	}
	return tree, nil
}

func (p *parser) conjunction() (Node, error) {
	tree, err := p.clause()
	if err != nil {
		return nil, err
	}
	for p.accept("&&") {
		right, err := p.clause()
		if err != nil {
			return nil, err
		}
		tree = And{tree, right}
	}
	return tree, nil
}

func (p *parser) clause() (Node, error) {
	p.skipBlanks()
	if p.accept("{") {
		return p.group()
	}
	path := p.path()
	if path == "" {
		return nil, p.unexpected("the name of a property, or {")
	}
	op := p.comparison()
	if op == "" {
		return nil, p.unexpected("one of " + joinOps(comparisons) + " behind " + path)
	}
	value := p.value()
	if value == "" {
		return nil, p.unexpected("a value to compare " + path + " with")
	}
	return p.resolve(path, op, value)
}

// group parses what follows an opening brace.
func (p *parser) group() (Node, error) {
	p.depth++
	if p.depth > MaxDepth {
		return nil, malformed("braces are nested more than %d deep", MaxDepth)
	}
	tree, err := p.expression()
	if err != nil {
		return nil, err
	}
	if !p.accept("}") {
		return nil, p.unexpected("&&, || or }")
	}
	p.depth--
	return tree, nil
}

// path returns "" and does not move when there is no path.
func (p *parser) path() string {
	path := p.text[p.pos:]
	if end := strings.IndexFunc(path, func(r rune) bool { return r != '.' && !isNameRune(r) }); end >= 0 {
		path = path[:end]
	}
	for name := range strings.SplitSeq(path, ".") {
		if name == "" || '0' <= name[0] && name[0] <= '9' {
			return ""
		}
	}
	p.pos += len(path)
	p.skipBlanks()
	return path
}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_'
}

// comparison returns "" when there is no comparison.
func (p *parser) comparison() Op {
	for _, op := range comparisons {
		if p.accept(string(op)) {
			return op
		}
	}
	return ""
}

// value returns "" when there is no value.
func (p *parser) value() string {
	start := p.pos
	for p.pos < len(p.text) && p.token() == "" {
		p.pos++
	}
	return strings.TrimSpace(p.text[start:p.pos])
}

// resolve checks a clause against the schema and returns it.
func (p *parser) resolve(path string, op Op, text string) (Node, error) {
	member, ok := p.schema.member(path)
	if !ok {
		return nil, unresolved(path, p.schema)
	}
	field := member.Field
	if ops := field.Kind.ops(); !slices.Contains(ops, op) {
		return nil, malformed("%s cannot be compared by %s; use one of %s", path, op, joinOps(ops))
	}
	value, ok := field.Kind.parse(text)
	if !ok {
		return nil, malformed("%s %s %q: the value is not %s", path, op, text, field.Kind.want())
	}
	return Clause{Field: field, Op: op, Value: value}, nil
}

// accept skips a token and the blanks after it, if that token is next.
func (p *parser) accept(token string) bool {
	if !strings.HasPrefix(p.text[p.pos:], token) {
		return false
	}
	p.pos += len(token)
	p.skipBlanks()
	return true
}

func (p *parser) skipBlanks() {
	p.pos = len(p.text) - len(strings.TrimLeftFunc(p.text[p.pos:], unicode.IsSpace))
}

// token returns the next operator or brace, or "".
func (p *parser) token() string {
	for _, token := range tokens {
		if strings.HasPrefix(p.text[p.pos:], token) {
			return token
		}
	}
	return ""
}

// unexpected returns an error that names the next token and what was wanted.
func (p *parser) unexpected(want string) error {
	found := p.token()
	if r, size := utf8.DecodeRuneInString(p.text[p.pos:]); found == "" && size > 0 {
		found = string(r)
	}
	if found == "" {
		return malformed("the query ends where %s should come", want)
	}
	return malformed("%s at character %d, where %s should come",
		strconv.Quote(found), utf8.RuneCountInString(p.text[:p.pos])+1, want)
}
