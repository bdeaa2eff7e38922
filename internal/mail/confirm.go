package mail

import (
	"errors"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"

	gomail "github.com/wneessen/go-mail"
)

// maxClientName bounds a client's name in a mail that asks, in characters. The reader does not know
// the client yet, so the mail gives it no room for a message.
const maxClientName = 60

// confirmation is the data of the templates of a mail that asks a reader to confirm.
type confirmation struct {
	ClientName, Mailbox, Link string
}

// fillConfirmation fills a message that asks the reader to confirm. It has one link, and nothing of
// the alert.
func (s *Sender) fillConfirmation(m *gomail.Msg, r Request) error {
	if s.Confirm == nil {
		return errors.New("there is no link for a confirmation")
	}
	a, err := r.alert()
	if err != nil {
		return err
	}
	name := oneLine(strings.Map(noAddress, a.ClientName))
	if runes := []rune(name); len(runes) > maxClientName {
		name = string(runes[:maxClientName-1]) + "…"
	}
	c := confirmation{ClientName: name, Mailbox: r.Mailbox, Link: s.Confirm(r.ClientID, r.Mailbox)}
	m.Subject(oneLine("Do you want alerts of " + name + "?"))
	return bodies(m, confirmText, confirmHTML, c)
}

// noAddress replaces what makes an address of a text, because mail programs make links of addresses.
func noAddress(r rune) rune {
	if strings.ContainsRune("./:@<>", r) {
		return ' '
	}
	return r
}

var confirmText = texttemplate.Must(texttemplate.New("text").Parse(`{{.ClientName}} wants to send alerts to {{.Mailbox}}.

To receive them, open this page and confirm:
{{.Link}}

If you do not know what this is about, do nothing. Without your confirmation no alerts are sent.
`))

var confirmHTML = htmltemplate.Must(htmltemplate.New("html").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Alerts of {{.ClientName}}</title>
</head>
<body style="margin:0;padding:16px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff">
<div style="max-width:560px;margin:0 auto">
<p style="margin:0 0 16px;overflow-wrap:anywhere">{{.ClientName}} wants to send alerts to {{.Mailbox}}.</p>
<p style="margin:0 0 16px"><a href="{{.Link}}" style="color:#0b57d0">Receive these alerts</a></p>
<p style="margin:24px 0 0;font-size:12px;color:#595959">If you do not know what this is about, do nothing. Without your confirmation no alerts are sent.</p>
</div>
</body>
</html>
`))
