package mail

import (
	"bytes"
	"encoding/json"
	"fmt"
	htmltemplate "html/template"
	"sort"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"github.com/google/uuid"
	gomail "github.com/wneessen/go-mail"

	"herald"
)

// alert is the alert that a message shows. It is decoded from the body that a webhook would get.
type alert struct {
	ClientName string
	CompanyID  string    `json:"CompanyId"`
	RuleID     uuid.UUID `json:"RuleId"`
	RuleType   string
	AlertID    uuid.UUID `json:"AlertId"`
	Message    string
	Data       json.RawMessage
}

// row is a row of the table.
type row struct{ Name, Value string }

// content is the data of the alert templates.
type content struct {
	alert
	Rows []row
	Link string
	Stop string // the unsubscribe link
}

// maxRows bounds the rows of the table and maxValue the characters of a value. The linked page and
// a webhook have all of it.
const (
	maxRows  = 20
	maxValue = 200
	// maxPath bounds the name of a nested member before it is shown, in bytes. It has more than
	// maxValue characters, so that oneLine cuts it visibly.
	maxPath = 8 * maxValue
)

// message renders an alert for a mailbox. to is the mailbox as ParseMailbox returns it.
func (s *Sender) message(r Request, to string) (m *gomail.Msg, err error) {
	stop := ""
	if s.Unsubscribe != nil {
		stop = s.Unsubscribe(r.ClientID, r.Mailbox)
	}
	m = gomail.NewMsg()
	id := r.DeliveryID.String()
	switch {
	case r.AskToConfirm:
		id = "confirm-" + id // the alert's own mail must not look like a repeat of this one
		err = s.fillConfirmation(m, r)
	case r.Digest != nil:
		err = s.fillDigest(m, r, stop)
	default:
		err = s.fillAlert(m, r, stop)
	}
	if err != nil {
		return nil, err
	}
	m.FromMailAddress(&s.From)
	if err := m.To(to); err != nil {
		return nil, fmt.Errorf("the mailbox %.200q: %w", to, err)
	}
	// The id is the same for each attempt, so that a reader's program can recognise a repeat.
	m.SetMessageIDWithValue(id + "@" + s.From.Address[strings.LastIndexByte(s.From.Address, '@')+1:])
	m.SetDateWithValue(r.RaisedAt)
	if r.Digest != nil || r.AskToConfirm {
		m.SetDate()
	}
	m.SetUserAgent(s.Product)
	if stop != "" {
		m.SetListUnsubscribe(stop)
		m.SetListUnsubscribePost() // RFC 8058: programs may offer it as one click
	}
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: programs must not reply
	return m, nil
}

// alert decodes the alert. It does not copy Data.
func (r *Request) alert() (a alert, err error) {
	envelope := r.Body
	if r.Data != nil {
		envelope = append(bytes.Clone(r.Body), "null}"...)
	}
	if err := json.Unmarshal(envelope, &a); err != nil {
		return a, fmt.Errorf("read the alert: %w", err)
	}
	if r.Data != nil {
		a.Data = r.Data
	}
	return a, nil
}

// fillAlert fills a message with one alert.
func (s *Sender) fillAlert(m *gomail.Msg, r Request, stop string) error {
	a, err := r.alert()
	if err != nil {
		return err
	}
	c := content{alert: a, Rows: rows(a, r.RaisedAt), Stop: stop}
	if s.PublicURL != "" {
		c.Link = strings.TrimSuffix(s.PublicURL, "/") + "/rules/alerts/" + a.AlertID.String()
	}
	text := subject(a)
	if herald.IsTest(r.DeliveryID) {
		text = oneLine("Test: " + text)
	}
	m.Subject(text)
	return bodies(m, asText, asHTML, c)
}

// fillDigest fills a message with a digest.
func (s *Sender) fillDigest(m *gomail.Msg, r Request, stop string) error {
	d, err := s.newDigest(r)
	if err != nil {
		return err
	}
	d.Stop = stop
	m.Subject(oneLine(fmt.Sprintf("%d alerts for %s", d.Count, d.ClientName)))
	return bodies(m, digestText, digestHTML, d)
}

func bodies(m *gomail.Msg, asText *texttemplate.Template, asHTML *htmltemplate.Template, data any) error {
	if err := m.SetBodyTextTemplate(asText, data); err != nil {
		return fmt.Errorf("render the text: %w", err)
	}
	if err := m.AddAlternativeHTMLTemplate(asHTML, data); err != nil {
		return fmt.Errorf("render the HTML: %w", err)
	}
	return nil
}

// subject returns the type and the company, in one line.
func subject(a alert) string {
	text := a.RuleType
	if a.CompanyID != "" {
		text += ", company " + a.CompanyID
	}
	return oneLine(text)
}

// oneLine makes a text fit for a header or a row: one line of at most maxValue characters.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
	if runes := []rune(text); len(runes) > maxValue {
		text = string(runes[:maxValue-1]) + "…"
	}
	return text
}

// rows returns the ids and the members of the alert's data. The names of nested members have dots.
func rows(a alert, raised time.Time) []row {
	var all []row
	if a.CompanyID != "" {
		all = append(all, row{"Company", a.CompanyID})
	}
	var data any
	if decoder := json.NewDecoder(bytes.NewReader(a.Data)); len(a.Data) > 0 {
		decoder.UseNumber()
		if err := decoder.Decode(&data); err == nil {
			all = flatten(all, "", data)
		}
	}
	if len(all) > maxRows {
		all = append(all[:maxRows], row{"…", fmt.Sprintf("and %d more", len(all)-maxRows)})
	}
	return append(all, row{"Raised", raised.UTC().Format("2006-01-02 15:04:05 MST")}, row{"Rule", a.RuleID.String()}, row{"Alert", a.AlertID.String()})
}

func flatten(into []row, name string, value any) []row {
	switch v := value.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for member := range v {
			names = append(names, member)
		}
		sort.Strings(names)
		for _, member := range names {
			path := member
			if name != "" {
				path = name + "." + member
			}
			// A long name would be copied for each of the members in it.
			into = flatten(into, strings.ToValidUTF8(path[:min(len(path), maxPath)], ""), v[member])
		}
		return into
	case []any:
		return append(into, row{oneLine(name), fmt.Sprintf("%d items", len(v))})
	case nil:
		return into
	default:
		return append(into, row{oneLine(name), oneLine(fmt.Sprint(v))})
	}
}

var asText = texttemplate.Must(texttemplate.New("text").Funcs(texttemplate.FuncMap{"pad": pad}).Parse(`{{.Message}}
{{$width := .Width}}
{{range .Rows}}{{pad $width .Name}}  {{.Value}}
{{end}}{{if .Link}}
{{.Link}}
{{end}}
--
` + footer + `{{if .Stop}}
Stop these mails: {{.Stop}}{{end}}
`))

const footer = `Sent to this mailbox because a rule of {{.ClientName}} names it.`

// Width returns the length of the longest name, at most 24.
func (c content) Width() (width int) {
	for _, r := range c.Rows {
		width = max(width, len([]rune(r.Name)))
	}
	return min(width, 24)
}

func pad(width int, text string) string {
	return text + strings.Repeat(" ", max(0, width-len([]rune(text))))
}

// asHTML has its styles in the elements, because mail programs ignore others. Long values may
// break, for narrow screens.
var asHTML = htmltemplate.Must(htmltemplate.New("html").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.RuleType}}</title>
</head>
<body style="margin:0;padding:16px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff">
<div style="max-width:560px;margin:0 auto">
<p style="margin:0 0 4px;font-size:13px;color:#595959">{{.RuleType}}</p>
<p style="margin:0 0 16px;font-size:18px;font-weight:600">{{.Message}}</p>
<table role="presentation" style="width:100%;border-collapse:collapse;font-size:14px">
{{range .Rows}}<tr><td style="padding:4px 12px 4px 0;vertical-align:top;color:#595959">{{.Name}}</td><td style="padding:4px 0;vertical-align:top;overflow-wrap:anywhere">{{.Value}}</td></tr>
{{end}}</table>
{{if .Link}}<p style="margin:16px 0"><a href="{{.Link}}" style="color:#0b57d0">Open the alert</a></p>
{{end}}<p style="margin:24px 0 0;font-size:12px;color:#595959">` + footer + `{{if .Stop}} <a href="{{.Stop}}" style="color:#595959">Stop these mails</a>{{end}}</p>
</div>
</body>
</html>
`))
