package portal

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"herald"
)

// comparison is what the page that compares two attempts shows.
type comparison struct {
	Client   client
	Self     string
	All      []attemptView
	Left     attemptView
	Right    attemptView
	Sections []comparedSection
}

// comparedSection is a group of rows.
type comparedSection struct {
	Name string
	Rows []comparedRow
}

// comparedRow is one value of both attempts.
type comparedRow struct{ Name, Left, Right string }

// Differs reports whether the values are different.
func (c comparedRow) Differs() bool { return c.Left != c.Right }

// compare shows two attempts side by side.
func (p *portal) compare(r *http.Request, v visit) (answer, error) {
	d, attempts, err := p.deliveryOf(r, v)
	if err != nil {
		return answer{}, err
	}
	if len(attempts) < 2 {
		return answer{}, herald.Errorf(herald.CodeConflict, "There is nothing to compare: the delivery has fewer than two attempts.")
	}
	show := comparison{Client: v.client, Self: v.client.path("/deliveries/" + d.ID.String())}
	show.All = attemptsOf(attempts, show.Self)
	show.Left, show.Right = show.All[len(attempts)-2], show.All[len(attempts)-1]
	for name, into := range map[string]*attemptView{"a": &show.Left, "b": &show.Right} {
		if text := r.URL.Query().Get(name); text != "" {
			chosen, err := shownAttempt(show.All, text)
			if err != nil {
				return answer{}, err
			}
			*into = *chosen
		}
	}
	show.Sections = compared(show.Left, show.Right)
	return page("compare.html", "Compare attempts", show), nil
}

// compared returns the rows of two attempts.
func compared(left, right attemptView) []comparedSection {
	row := func(name string, of func(attemptView) string) comparedRow {
		return comparedRow{name, of(left), of(right)}
	}
	time := func(name string, of func(herald.Timings) float64) comparedRow {
		return row(name, func(a attemptView) string { return millis(of(a.Timings)) })
	}
	return []comparedSection{
		{"Result", []comparedRow{
			row("Outcome", func(a attemptView) string { return a.Badge.Word }),
			row("Status", func(a attemptView) string {
				if a.Status == 0 {
					return "none"
				}
				return strconv.Itoa(a.Status)
			}),
			row("Error", func(a attemptView) string { return a.Error }),
		}},
		{"Time", []comparedRow{
			time("Name look-up", func(t herald.Timings) float64 { return t.DNS }), time("Connection", func(t herald.Timings) float64 { return t.Connect }),
			time("TLS", func(t herald.Timings) float64 { return t.TLS }), time("First byte", func(t herald.Timings) float64 { return t.FirstByte }),
			time("Total", func(t herald.Timings) float64 { return t.Total }),
		}},
		{"Request", append([]comparedRow{row("Address", func(a attemptView) string {
			if a.Request == nil {
				return ""
			}
			return a.Request.Method + " " + a.Request.URL
		})}, comparedHeaders(requestHeaders(left), requestHeaders(right))...)},
		{"Response", append(comparedHeaders(responseHeaders(left), responseHeaders(right)), row("Body", func(a attemptView) string {
			if a.Response == nil {
				return ""
			}
			return payloadOf([]byte(a.Response.Body), true, false).Text
		}))},
	}
}

func requestHeaders(a attemptView) map[string]string {
	if a.Request == nil {
		return nil
	}
	return a.Request.Headers
}

func responseHeaders(a attemptView) map[string]string {
	all := make(map[string]string)
	if a.Response != nil {
		for name, values := range a.Response.Headers {
			all[name] = strings.Join(values, ", ")
		}
	}
	return all
}

func comparedHeaders(left, right map[string]string) (rows []comparedRow) {
	names := maps.Clone(right)
	if names == nil {
		names = make(map[string]string)
	}
	maps.Copy(names, left)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		rows = append(rows, comparedRow{name, left[name], right[name]})
	}
	return rows
}
