package mail

import (
	"cmp"
	htmltemplate "html/template"
	"slices"
	"strings"
	texttemplate "text/template"

	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

// Bounds of what a digest shows. The list that it links to shows all alerts.
const (
	maxGroups   = 20
	maxMessages = 5 // of the first ones, and of the last ones
)

// digest is the data of the digest templates.
type digest struct {
	ClientName  string
	Count       int
	Groups      []group
	MoreGroups  int
	First, Last []string
	Link        string
	IDs         []uuid.UUID // of all alerts, if there is no link
	Stop        string      // the unsubscribe link
}

// group is the number of alerts of one type about one company.
type group struct {
	Count         int
	Type, Company string
}

// newDigest makes the digest of alerts, which are in the order in which they were raised.
func (s *Sender) newDigest(r Request) (digest, error) {
	a, err := r.alert()
	if err != nil {
		return digest{}, err
	}
	d := digest{ClientName: a.ClientName, Count: len(r.Digest)}
	counts := make(map[group]int)
	for _, g := range r.Digest {
		key := group{Type: oneLine(g.Type)}
		if g.CompanyID != uuid.Nil {
			key.Company = g.CompanyID.String()
		}
		counts[key]++
	}
	for key, n := range counts {
		key.Count = n
		d.Groups = append(d.Groups, key)
	}
	slices.SortFunc(d.Groups, func(a, b group) int {
		return cmp.Or(b.Count-a.Count, strings.Compare(a.Type, b.Type), strings.Compare(a.Company, b.Company))
	})
	d.MoreGroups = max(0, len(d.Groups)-maxGroups)
	d.Groups = d.Groups[:len(d.Groups)-d.MoreGroups]
	d.First = messages(r.Digest[:min(maxMessages, len(r.Digest))])
	d.Last = messages(r.Digest[max(len(d.First), len(r.Digest)-maxMessages):])
	if s.PublicURL != "" {
		d.Link = strings.TrimSuffix(s.PublicURL, "/") + "/rules/alerts"
		return d, nil
	}
	for _, g := range r.Digest {
		d.IDs = append(d.IDs, herald.AlertOf(g.DeliveryID))
	}
	return d, nil
}

func messages(entries []work.DigestEntry) (all []string) {
	for _, g := range entries {
		all = append(all, oneLine(g.Message))
	}
	return all
}

var digestText = texttemplate.Must(texttemplate.New("text").Parse(`{{.Count}} alerts came for this mailbox in a short time, so they come as one.

{{range .Groups}}{{printf "%6d" .Count}}  {{.Type}}{{if .Company}}, company {{.Company}}{{end}}
{{end}}{{if .MoreGroups}}        and {{.MoreGroups}} more types and companies
{{end}}
The first:
{{range .First}}- {{.}}
{{end}}{{if .Last}}
The last:
{{range .Last}}- {{.}}
{{end}}{{end}}{{if .Link}}
All of them: {{.Link}}
{{end}}{{if .IDs}}
Their ids:
{{range .IDs}}{{.}}
{{end}}{{end}}
--
` + footer + `{{if .Stop}}
Stop these mails: {{.Stop}}{{end}}
`))

var digestHTML = htmltemplate.Must(htmltemplate.New("html").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Count}} alerts</title>
</head>
<body style="margin:0;padding:16px;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff">
<div style="max-width:560px;margin:0 auto">
<p style="margin:0 0 16px;font-size:18px;font-weight:600">{{.Count}} alerts came for this mailbox in a short time, so they come as one.</p>
<table role="presentation" style="width:100%;border-collapse:collapse;font-size:14px">
{{range .Groups}}<tr><td style="padding:4px 12px 4px 0;vertical-align:top;text-align:right">{{.Count}}</td><td style="padding:4px 0;vertical-align:top;overflow-wrap:anywhere">{{.Type}}{{if .Company}}, company {{.Company}}{{end}}</td></tr>
{{end}}</table>
{{if .MoreGroups}}<p style="margin:4px 0;font-size:14px;color:#595959">and {{.MoreGroups}} more types and companies</p>
{{end}}<p style="margin:16px 0 0;color:#595959">The first:</p>
<ul style="margin:0;padding-left:20px">
{{range .First}}<li>{{.}}</li>
{{end}}</ul>
{{if .Last}}<p style="margin:16px 0 0;color:#595959">The last:</p>
<ul style="margin:0;padding-left:20px">
{{range .Last}}<li>{{.}}</li>
{{end}}</ul>
{{end}}{{if .Link}}<p style="margin:16px 0"><a href="{{.Link}}" style="color:#0b57d0">All of them</a></p>
{{end}}{{if .IDs}}<p style="margin:16px 0;font-size:12px;overflow-wrap:anywhere">{{range .IDs}}{{.}}<br>{{end}}</p>
{{end}}<p style="margin:24px 0 0;font-size:12px;color:#595959">` + footer + `{{if .Stop}} <a href="{{.Stop}}" style="color:#595959">Stop these mails</a>{{end}}</p>
</div>
</body>
</html>
`))
