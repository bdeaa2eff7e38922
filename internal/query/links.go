package query

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Links is the "_links" of a page of a list (spec section 4.2). Like the vendor's JSON, its
// JSON must not escape "&": use json.Encoder.SetEscapeHTML(false).
type Links struct {
	Current  Link  `json:"current"`
	Self     Link  `json:"self"`
	Next     *Link `json:"next,omitempty"`     // nil on the last page and beyond
	Previous *Link `json:"previous,omitempty"` // nil on page 1
}

// Link is a relative reference that begins with a slash.
type Link struct {
	Href string `json:"href"`
}

// Links returns the links of the page. The path is the list's, escaped as in the request.
// total counts the results on all pages. extra are further parameters that the links
// must repeat, such as companyId.
func (l List) Links(path string, total int, extra url.Values) Links {
	links := Links{Current: l.link(path, l.Page, extra), Self: Link{path}}
	if int64(l.Page)*int64(l.PageSize) < int64(total) {
		next := l.link(path, l.Page+1, extra)
		links.Next = &next
	}
	if l.Page > 1 {
		previous := l.link(path, l.Page-1, extra)
		links.Previous = &previous
	}
	return links
}

// link writes page and pageSize first (spec section 4.2).
func (l List) link(path string, page int, extra url.Values) Link {
	var href strings.Builder
	href.WriteString(path + "?page=" + strconv.Itoa(page) + "&pageSize=" + strconv.Itoa(l.PageSize))
	add := func(name, value string) {
		href.WriteString("&" + escape(name) + "=" + escape(value))
	}
	if l.Query != "" {
		add("query", l.Query)
	}
	if l.OrderBy != "" {
		add("orderBy", l.OrderBy)
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		for _, value := range extra[name] {
			add(name, value)
		}
	}
	return Link{href.String()}
}

// escape encodes a blank as %20, because some decoders do not decode "+".
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
