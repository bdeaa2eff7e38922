package query

import (
	"math"
	"net/url"
	"strconv"
	"strings"

	"herald"
)

// Limits on paging (spec section 4.1).
const (
	MaxPage         = math.MaxInt32
	MaxPageSize     = 5000
	DefaultPageSize = 100
)

// List is a request for one page of a resource.
type List struct {
	Page     int // from 1 to MaxPage
	PageSize int // from 1 to MaxPageSize
	// Where filters the list; nil selects everything.
	Where Node
	Order Order
	// Query and OrderBy are the texts of Where and Order, for the links. They are
	// empty when the request had none.
	Query, OrderBy string
}

// ParseList parses page, pageSize, query and orderBy (spec section 4.1). It ignores other
// parameters. An error about query is a *SyntaxError; any other is a CodeInvalid
// herald.Error that names the parameter.
func ParseList(values url.Values, s Schema) (List, error) {
	l := List{Order: s.Default}
	var err error
	if l.Page, err = number(values, "page", 1, MaxPage); err != nil {
		return List{}, err
	}
	if l.PageSize, err = number(values, "pageSize", DefaultPageSize, MaxPageSize); err != nil {
		return List{}, err
	}
	query, err := Parameter(values, "query")
	if err != nil {
		return List{}, err
	}
	if strings.TrimSpace(query) != "" {
		l.Query = query
		if l.Where, err = Parse(query, s); err != nil {
			return List{}, err
		}
	}
	if l.OrderBy, err = Parameter(values, "orderBy"); err != nil {
		return List{}, err
	}
	if l.OrderBy != "" {
		if l.Order, err = parseOrder(l.OrderBy, s); err != nil {
			return List{}, err
		}
	}
	return l, nil
}

// Parameter returns the value of a parameter. The name matches in any case; the value is ""
// when the parameter is absent. A parameter without a value counts as absent, because
// clients send unset parameters so. A parameter given twice is a CodeInvalid Error, because
// url.Values does not record which spelling came first.
func Parameter(values url.Values, name string) (string, error) {
	var given []string
	for key, all := range values {
		if strings.EqualFold(key, name) {
			given = append(given, all...)
		}
	}
	switch len(given) {
	case 0:
		return "", nil
	case 1:
		return given[0], nil
	default:
		return "", herald.Invalid(name, "%s is given %d times; give it once", name, len(given))
	}
}

func number(values url.Values, name string, fallback, most int) (int, error) {
	text, err := Parameter(values, name)
	if err != nil || text == "" {
		return fallback, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, herald.Invalid(name, "%s %.50q: want a whole number from 1 to %d", name, text, most)
	}
	return n, nil
}

// parseOrder parses "field" or "-field" (spec section 4.4).
func parseOrder(text string, s Schema) (Order, error) {
	path, desc := strings.CutPrefix(strings.TrimSpace(text), "-")
	if s.Undefined != "" && strings.EqualFold(path, s.Undefined) {
		return s.Default, nil
	}
	member, ok := s.member(path)
	if !ok || member.OrderBy == (Field{}) {
		return Order{}, herald.Invalid("orderBy", "orderBy %.50q: a list of type %s can be ordered by %s, descending with - in front",
			text, s.Type, s.sortablePaths())
	}
	return Order{Field: member.OrderBy, Desc: desc}, nil
}

// Offset returns the number of results before the page, at most math.MaxInt.
func (l List) Offset() int {
	return int(min(int64(l.Page-1)*int64(l.PageSize), math.MaxInt))
}
