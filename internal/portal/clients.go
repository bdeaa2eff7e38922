package portal

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald"
	"herald/internal/query"
)

const (
	// clientPage is how many clients a page lists.
	clientPage = 50
	// maxPending is how far the pending deliveries of a client are counted.
	maxPending = 100
)

// managePath returns the address of the page on which the operator manages a client.
func managePath(id uuid.UUID) string { return Path + "operator/clients/" + id.String() }

// clientRow is a client in the operator's list.
type clientRow struct {
	client
	Pending   int
	Counted   bool // Pending is exact
	OldestDue *time.Time
	Failing   int  // how many receivers fail that nobody takes care of
	Known     int  // how many others fail
	Late      bool // something is due, and was not sent for longer than a minute
}

// State says how a client's deliveries are.
func (c clientRow) State() badge {
	switch {
	case c.Failing > 0:
		return badge{"bad", "cross", plural(c.Failing, "receiver fails", "receivers fail")}
	case c.Known > 0:
		return badge{"wait", "warn", plural(c.Known, "failing receiver is acknowledged", "failing receivers are acknowledged")}
	case c.Late:
		return badge{"wait", "clock", "Behind"}
	case c.Pending > 0:
		return badge{"busy", "send", "Sending"}
	case !c.Counted:
		return badge{"off", "question", "Not known"}
	}
	return badge{"good", "check", "Nothing waits"}
}

// lateAfter is how long a delivery may be due before its client's row says so; as GET /status does.
const lateAfter = time.Minute

// Path returns the address of a client's pages.
func (c client) Path() string { return c.path("") }

// Manage returns the address of the page on which the operator manages a client.
func (c client) Manage() string { return managePath(c.ID) }

// clientListView is what the operator's list of clients shows.
type clientListView struct {
	Search filterField
	Rows   []clientRow
	// Urgent are clients of which something fails or is late, on the first page. OtherUrgent is how many more there are.
	Urgent      []clientRow
	OtherUrgent atLeast
	// Older is the address of the next page, First that of the first one, on the others. Both keep the search.
	Older, First string
	// Partly says that the search has not come to its end, and found nothing so far.
	Partly bool
	New    newClientForm
}

// clientsPath returns the address of the list of clients.
func clientsPath(search string, after uuid.UUID) string {
	values := make(url.Values)
	if search != "" {
		values.Set("search", search)
	}
	if after != uuid.Nil {
		values.Set("after", after.String())
	}
	if len(values) == 0 {
		return Path + "clients"
	}
	return Path + "clients?" + values.Encode()
}

// newClientForm makes a client.
type newClientForm struct {
	Name  filterField
	Role  string
	Roles []herald.Role
}

// clientList lists the clients for the operator.
func (p *portal) clientList(r *http.Request, _ visit) (answer, error) {
	return p.showClients(r, newClientForm{Role: string(herald.Developer)})
}

func (p *portal) showClients(r *http.Request, form newClientForm) (answer, error) {
	form.Roles = herald.Roles()
	after, err := optionalID("after", r.URL.Query().Get("after"))
	if err != nil {
		return answer{}, err
	}
	list := clientListView{New: form, Search: filterField{Value: strings.TrimSpace(r.URL.Query().Get("search"))}}
	if said := unknownFilters(r.URL.Query(), "search"); said != "" {
		list.Search.Error = said
		return wrong("clients.html", "Clients", list), nil
	}
	found, next, err := p.Clients.Clients(r.Context(), herald.ClientFilter{Search: list.Search.Value, After: after, Limit: clientPage + 1})
	if herald.CodeOf(err) == herald.CodeInvalid {
		list.Search = filterField{Error: "The search: " + messageOf(err) + "."}
		return wrong("clients.html", "Clients", list), nil
	}
	if err != nil {
		return answer{}, err
	}
	status, err := p.Operator.Status(r.Context())
	if err != nil {
		return answer{}, err
	}
	failing, err := p.allFailing(r.Context())
	if err != nil {
		return answer{}, err
	}
	if after != uuid.Nil {
		list.First = clientsPath(list.Search.Value, uuid.Nil)
	}
	if len(found) > clientPage {
		found = found[:clientPage]
		next = found[clientPage-1].ID
	}
	if next != uuid.Nil {
		list.Older, list.Partly = clientsPath(list.Search.Value, next), len(found) == 0
	}
	states := clientStates{failing, status, make(map[uuid.UUID]herald.ClientBacklog)}
	for _, b := range status.Clients {
		states.backlog[b.ClientID] = b
	}
	for _, c := range found {
		list.Rows = append(list.Rows, states.row(client{c.ID, c.Profile.Name}))
	}
	if after == uuid.Nil && list.Search.Value == "" {
		if err := p.addUrgent(r.Context(), &list, states); err != nil {
			return answer{}, err
		}
	}
	return page("clients.html", "Clients", list), nil
}

// clientStates has what the rows of clients show.
type clientStates struct {
	failing failures
	status  herald.Status
	backlog map[uuid.UUID]herald.ClientBacklog
}

func (s clientStates) row(c client) clientRow {
	b, counted := s.backlog[c.ID]
	whole := s.status.Backlog != nil && !s.status.Backlog.AtLeast && len(s.status.Clients) < herald.MaxBacklogClients
	row := clientRow{client: c, Pending: b.Pending, Counted: counted || whole, OldestDue: b.OldestDue, Late: b.OldestDue != nil && s.status.At.Sub(*b.OldestDue) > lateAfter}
	if f := s.failing.clients[c.ID]; f != nil {
		row.Failing, row.Known = len(f.failing), f.known
	}
	return row
}

// maxUrgent is how many clients are listed first because something of theirs fails or is late.
const maxUrgent = 20

// addUrgent lists the clients of which something fails or is late, those with most failing receivers first.
func (p *portal) addUrgent(ctx context.Context, list *clientListView, states clientStates) error {
	var urgent []clientRow
	for id := range states.failing.clients {
		urgent = append(urgent, states.row(client{ID: id}))
	}
	for id := range states.backlog {
		if row := states.row(client{ID: id}); row.Late && states.failing.clients[id] == nil {
			urgent = append(urgent, row)
		}
	}
	slices.SortFunc(urgent, func(a, b clientRow) int {
		return cmp.Or(b.Failing-a.Failing, b.Known-a.Known, b.Pending-a.Pending, bytes.Compare(a.ID[:], b.ID[:]))
	})
	list.Urgent = urgent[:min(len(urgent), maxUrgent)]
	list.OtherUrgent = atLeast{len(urgent) - len(list.Urgent), states.failing.part}
	names := make(map[uuid.UUID]string)
	for i := range list.Urgent {
		row := &list.Urgent[i]
		if err := p.addName(ctx, names, row.ID); err != nil {
			return err
		}
		row.Name = names[row.ID]
	}
	return nil
}

// maxAllIssues is how many open issues of all clients are read.
const maxAllIssues = 1000

// failures are the open issues of all clients.
type failures struct {
	open    []herald.Issue
	clients map[uuid.UUID]*receiverHealth
	part    bool // there are further ones
}

// allFailing reads which receivers fail, of all clients.
func (p *portal) allFailing(ctx context.Context) (f failures, err error) {
	open, next, err := p.Issues.Issues(ctx, uuid.Nil, herald.IssueFilter{State: herald.IssueOpen, Limit: maxAllIssues})
	f = failures{open, make(map[uuid.UUID]*receiverHealth), len(open) == maxAllIssues || next != uuid.Nil}
	of := make(map[uuid.UUID][]issueRow)
	for _, i := range open {
		of[i.ClientID] = append(of[i.ClientID], issueRow{Issue: i})
	}
	for id, issues := range of {
		h := healthOf(issues, nil, false)
		f.clients[id] = &h
	}
	return f, err
}

// createdView shows a new client and its key.
type createdView struct {
	Client client
	Role   herald.Role
	Key    string
}

// createClient makes a client. Its page shows the key this once.
func (p *portal) createClient(r *http.Request, v visit) (answer, error) {
	form := newClientForm{Name: filterField{Value: strings.TrimSpace(r.PostForm.Get("name"))}, Role: r.PostForm.Get("role")}
	role, err := roleOf(form.Role)
	if err != nil {
		return answer{}, err
	}
	if err := herald.CheckClientName(form.Name.Value); err != nil {
		form.Name.Error = "Name: " + messageOf(err) + "."
		a, err := p.showClients(r, form)
		a.status = http.StatusUnprocessableEntity
		return a, err
	}
	made, key, err := p.Operator.Clients.CreateClient(r.Context(), v.caller, form.Name.Value, role)
	if err != nil {
		return answer{}, err
	}
	a := page("client-created.html", "Client created", createdView{client{made.ID, made.Profile.Name}, role, key})
	a.status = http.StatusCreated
	return a, nil
}

// roleOf returns the role that a form names; without one it is herald.Developer.
func roleOf(text string) (herald.Role, error) {
	if text == "" {
		return herald.Developer, nil
	}
	for _, role := range herald.Roles() {
		if text == string(role) {
			return role, nil
		}
	}
	return "", herald.Invalid("role", "%.80q is no role; choose administrator, developer or analyst.", text)
}

// manageView is what the page about one client shows.
type manageView struct {
	Client client
	Rules  int
	Keys   []herald.Key
	// Pending are the deliveries that would be cancelled; More says that there are others.
	Pending int
	More    bool
	Name    filterField
	Link    linkForm
	Made    *madeLink
	Confirm filterField // of deleting
}

// linkForm makes a portal link.
type linkForm struct {
	Role  string
	Roles []herald.Role
	Life  string
	Lives []linkLife
	Path  filterField
}

type madeLink struct {
	URL       string
	Role      herald.Role
	ExpiresAt time.Time
}

// linkLife is how long a link can be used.
type linkLife struct {
	Value, Word string
	life        time.Duration
}

var linkLives = []linkLife{{"10m", "10 minutes", herald.DefaultLinkLife}, {"1h", "1 hour", time.Hour}, {"24h", "24 hours", herald.MaxLinkLife}}

// managed reads what is shown about the client that a path names.
func (p *portal) managed(r *http.Request, v visit) (show manageView, err error) {
	if show.Client, err = p.clientOf(r.Context(), r.PathValue("client"), v.session); err != nil {
		return show, err
	}
	show.Name.Value = show.Client.Name
	show.Link = linkForm{Role: string(herald.Developer), Roles: herald.Roles(), Life: linkLives[0].Value, Lives: linkLives}
	if show.Keys, err = p.Operator.Clients.Keys(r.Context(), show.Client.ID); err != nil {
		return show, err
	}
	_, show.Rules, err = p.Rules.Rules(r.Context(), show.Client.ID, uuid.Nil, query.List{Page: 1, PageSize: query.DefaultPageSize, Order: query.Rules().Default})
	if err != nil {
		return show, err
	}
	show.Pending, show.More, err = p.countPending(r.Context(), show.Client.ID)
	return show, err
}

// countPending counts the pending deliveries of a client up to maxPending.
func (p *portal) countPending(ctx context.Context, of uuid.UUID) (n int, more bool, err error) {
	found, next, err := p.Deliveries.Deliveries(ctx, of, herald.DeliveryFilter{State: new(herald.Pending), Limit: maxPending + 1})
	return min(len(found), maxPending), len(found) > maxPending || next != uuid.Nil, err
}

// manage shows a client to the operator.
func (p *portal) manage(r *http.Request, v visit) (answer, error) {
	show, err := p.managed(r, v)
	return page("client.html", show.Client.Name, show), err
}

// renameClient changes a client's name.
func (p *portal) renameClient(r *http.Request, v visit) (answer, error) {
	show, err := p.managed(r, v)
	if err != nil {
		return answer{}, err
	}
	show.Name.Value = strings.TrimSpace(r.PostForm.Get("name"))
	if err := herald.CheckClientName(show.Name.Value); err != nil {
		show.Name.Error = "Name: " + messageOf(err) + "."
		return wrong("client.html", show.Client.Name, show), nil
	}
	err = p.Operator.Clients.RenameClient(r.Context(), v.caller, show.Client.ID, show.Name.Value)
	return seeOther("%s?notice=renamed", managePath(show.Client.ID)), err
}

// wrong is a page with messages beside its fields.
func wrong(file, title string, data any) answer {
	a := page(file, title, data)
	a.status = http.StatusUnprocessableEntity
	return a
}

// createLink makes a portal link. Its page shows it this once.
func (p *portal) createLink(r *http.Request, v visit) (answer, error) {
	show, err := p.managed(r, v)
	if err != nil {
		return answer{}, err
	}
	role, err := roleOf(r.PostForm.Get("role"))
	if err != nil {
		return answer{}, err
	}
	form := &show.Link
	form.Role, form.Life, form.Path.Value = string(role), r.PostForm.Get("life"), strings.TrimSpace(r.PostForm.Get("path"))
	if err := herald.CheckPortalPath(form.Path.Value); err != nil {
		form.Path.Error = "Page: " + messageOf(err) + "."
		return wrong("client.html", show.Client.Name, show), nil
	}
	life := herald.DefaultLinkLife
	if form.Life != "" {
		at := slices.IndexFunc(linkLives, func(l linkLife) bool { return l.Value == form.Life })
		if at < 0 {
			return answer{}, herald.Invalid("life", "%.80q is no time for a link; choose 10m, 1h or 24h.", form.Life)
		}
		life = linkLives[at].life
	}
	made, secret, err := p.Operator.Clients.CreatePortalLink(r.Context(), v.caller, herald.PortalLink{ClientID: show.Client.ID, Role: role, Path: form.Path.Value}, life)
	if err != nil {
		return answer{}, err
	}
	show.Made = &madeLink{p.Operator.LinkURL(r, secret), made.Role, made.ExpiresAt}
	a := page("client.html", show.Client.Name, show)
	a.status = http.StatusCreated
	return a, nil
}

// askDelete asks whether to delete a client, and says what goes with it.
func (p *portal) askDelete(r *http.Request, v visit) (answer, error) {
	show, err := p.managed(r, v)
	return page("client-delete.html", "Delete "+show.Client.Name, show), err
}

// deleteClient deletes a client whose name was typed.
func (p *portal) deleteClient(r *http.Request, v visit) (answer, error) {
	show, err := p.managed(r, v)
	if err != nil {
		return answer{}, err
	}
	show.Confirm.Value = strings.TrimSpace(r.PostForm.Get("name"))
	if !looksLike(show.Confirm.Value, show.Client.Name) {
		show.Confirm.Error = "That is not the client's name. Type it as it stands above."
		return wrong("client-delete.html", "Delete "+show.Client.Name, show), nil
	}
	err = p.Operator.Clients.DeleteClient(r.Context(), v.caller, show.Client.ID)
	return seeOther("%sclients?notice=client-deleted", Path), err
}
