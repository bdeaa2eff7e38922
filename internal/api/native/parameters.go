package native

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
	"herald/internal/egress"
)

// Sizes of a page.
const (
	defaultLimit = 50
	maxLimit     = 500
)

// pageParameters returns the parameters that every list has.
func pageParameters() []*huma.Param {
	least, most := float64(1), float64(maxLimit)
	limit := huma.Schema{Type: "integer", Minimum: &least, Maximum: &most, Default: defaultLimit}
	return []*huma.Param{
		openapi.QueryParameter("limit", limit, "The largest number of results in a page."),
		openapi.QueryParameter("after", huma.Schema{Type: "string", Format: "uuid"}, "The next of the previous page."),
	}
}

// checkParameters refuses query parameters that a call does not describe, and parameters
// that occur more than once.
func checkParameters(r *http.Request, known []*huma.Param) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return herald.Invalid("", "The query string cannot be read: %s.", err)
	}
	var names []string
	for _, p := range known {
		if p.In == "query" {
			names = append(names, p.Name)
		}
	}
	for name, given := range values {
		if !slices.Contains(names, name) {
			has := "this call has none"
			if len(names) > 0 {
				has = "this call has " + strings.Join(names, ", ")
			}
			return nameMember(herald.Invalid(short(name), "no such parameter; %s", has))
		}
		if len(given) > 1 {
			return nameMember(herald.Invalid(name, "given %d times; give it once", len(given)))
		}
		if !api.IsText(given[0]) {
			return nameMember(herald.Invalid(name, "%q holds U+0000, or is not UTF-8", short(given[0])))
		}
	}
	return nil
}

// parameters reads a call's query parameters. An absent or empty parameter is the zero
// value. err is the first error.
type parameters struct {
	values url.Values
	err    error
}

func parametersOf(r *http.Request) *parameters { return &parameters{values: r.URL.Query()} }

// parseReceiver checks a receiver, and leaves its spelling: the store finds it in any.
func parseReceiver(text string) (string, error) {
	if _, err := egress.ParseReceiver(text); err != nil {
		return "", herald.Invalid("", "%v", err)
	}
	return text, nil
}

func (p *parameters) text(name string) string { return p.values.Get(name) }

// id reads an id. It refuses the GUID of zeros, which would select everything, like an absent
// parameter.
func (p *parameters) id(name string) uuid.UUID {
	return parameter(p, name, func(text string) (uuid.UUID, error) {
		id, err := parseID(text)
		if err == nil && id == uuid.Nil {
			err = herald.Invalid("", "the GUID of zeros is the id of nothing; leave the parameter out to select all")
		}
		return id, err
	})
}

func (p *parameters) time(name string) time.Time { return parameter(p, name, parseTime) }

func (p *parameters) state(name string) *herald.State {
	return parameter(p, name, func(text string) (*herald.State, error) {
		state := new(herald.State)
		if state.UnmarshalText([]byte(text)) != nil {
			return nil, herald.Invalid("", "%q is not one of pending, delivered, failed and cancelled", short(text))
		}
		return state, nil
	})
}

func (p *parameters) flag(name string) bool {
	return parameter(p, name, func(text string) (bool, error) {
		if text != "true" && text != "false" {
			return false, herald.Invalid("", "%q is not true or false", short(text))
		}
		return text == "true", nil
	})
}

func (p *parameters) limit() int {
	if p.values.Get("limit") == "" {
		return defaultLimit
	}
	return parameter(p, "limit", func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			return 0, herald.Invalid("", "%q is not a whole number from 1 to %d", short(text), maxLimit)
		}
		return n, nil
	})
}

// parameter reads one parameter with parse.
func parameter[T any](p *parameters, name string, parse func(string) (T, error)) (zero T) {
	text := p.values.Get(name)
	if text == "" {
		return zero
	}
	value, err := parse(text)
	if err == nil {
		return value
	}
	if p.err == nil {
		p.err = nameMember(within(name, err))
	}
	return zero
}
