package portal

import (
	"net/http"
	"slices"
	"strings"
)

// scope says who may open a page.
type scope int

const (
	public     scope = iota // everybody
	signedIn                // every session
	ofClient                // the sessions of the client in the path, and the operator's
	ofOperator              // the operator's sessions
)

// handler makes the answer to a request. Its errors become error pages.
type handler func(r *http.Request, v visit) (answer, error)

// route is one address of the portal. The pages of a client are below {client}, so that the
// operator and the client's people can send each other the addresses of what they see.
type route struct {
	pattern string
	scope   scope
	serve   handler
}

// clientPath is where the pages of a client are.
const clientPath = Path + "clients/{client}"

// managedPath is where the operator manages a client.
const managedPath = Path + "operator/clients/{client}"

// routes are all addresses but the assets. Tests walk them: with other clients' ids, without a
// session, and with an analyst's.
func (p *portal) routes() []route {
	return []route{
		{"GET /portal", public, p.home},
		{"GET " + Path + "{$}", signedIn, p.home},
		{Path, public, p.unknown},
		{"GET " + Path + "sign-in", public, p.signInPage},
		{"POST " + Path + "sign-in", public, p.signIn},
		{"GET " + LinkPath, public, p.linkPage},
		{"POST " + LinkPath, public, p.redeemLink},
		{"POST " + Path + "sign-out", public, p.signOut},
		{"POST " + Path + "sign-out-everywhere", signedIn, p.signOutEverywhere},
		{"POST " + Path + "preferences", public, p.savePreferences},

		{"GET " + Path + "clients", ofOperator, p.clientList},
		{"POST " + Path + "clients", ofOperator, p.createClient},
		{"GET " + managedPath, ofOperator, p.manage},
		{"POST " + managedPath + "/rename", ofOperator, p.renameClient},
		{"POST " + managedPath + "/link", ofOperator, p.createLink},
		{"GET " + managedPath + "/delete", ofOperator, p.askDelete},
		{"POST " + managedPath + "/delete", ofOperator, p.deleteClient},
		{"GET " + eventTypesPath, ofOperator, p.eventTypes},
		{"GET " + eventTypePath, ofOperator, p.eventType},
		{"POST " + eventTypePath, ofOperator, p.saveEventType},
		{"GET " + eventTypePath + "/delete", ofOperator, p.askDeleteEventType},
		{"POST " + eventTypePath + "/delete", ofOperator, p.deleteEventType},
		{"GET " + Path + "system", ofOperator, p.system},

		{"GET " + clientPath, ofClient, p.overview},
		{"GET " + clientPath + "/{$}", ofClient, p.overview},
		{livePattern, ofClient, p.live},
		{"GET " + clientPath + "/find", ofClient, p.find},
		{"GET " + clientPath + "/events", ofClient, p.events},
		{"GET " + clientPath + "/events/{event}", ofClient, p.event},
		{"GET " + clientPath + "/events/{event}/data", ofClient, p.eventData},
		{"GET " + clientPath + "/inbox", ofClient, p.inbox},
		{"POST " + clientPath + "/inbox", ofClient, p.setAnswer},
		{"POST " + clientPath + "/inbox/clear", ofClient, p.clearInbox},
		{"GET " + clientPath + "/inbox/{received}", ofClient, p.received},
		{"GET " + clientPath + "/catalogue", ofClient, p.catalogue},
		{"GET " + clientPath + "/catalogue/{type}", ofClient, p.catalogueType},
		{"POST " + clientPath + "/catalogue/{type}", ofClient, p.sendExample},

		{"GET " + clientPath + "/deliveries", ofClient, p.deliveries},
		{"GET " + clientPath + "/deliveries/{delivery}", ofClient, p.delivery},
		{"GET " + clientPath + "/deliveries/{delivery}/compare", ofClient, p.compare},
		{"GET " + clientPath + "/deliveries/{delivery}/body", ofClient, p.requestBody},
		{"GET " + clientPath + "/deliveries/{delivery}/attempts/{n}/body", ofClient, p.responseBody},
		{"POST " + clientPath + "/deliveries/{delivery}/redeliver", ofClient, p.redeliver},
		{"POST " + clientPath + "/deliveries/{delivery}/retry", ofClient, p.retry},
		{"GET " + clientPath + "/deliveries/{delivery}/cancel", ofClient, p.askCancel},
		{"POST " + clientPath + "/deliveries/{delivery}/cancel", ofClient, p.cancel},
		{"GET " + clientPath + "/issues/{issue}/acknowledge", ofClient, p.askNote},
		{"POST " + clientPath + "/issues/{issue}/acknowledge", ofClient, p.acknowledge},
		{"GET " + clientPath + "/issues/{issue}/recover", ofClient, p.askRecover},
		{"POST " + clientPath + "/issues/{issue}/recover", ofClient, p.recoverFailed},

		{"GET " + clientPath + "/rules", ofClient, p.rules},
		{"POST " + clientPath + "/rules", ofClient, p.createRule},
		{"GET " + clientPath + "/rules/new", ofClient, p.newRule},
		{"GET " + clientPath + "/rules/{rule}", ofClient, p.rule},
		{"GET " + clientPath + "/rules/{rule}/edit", ofClient, p.editRule},
		{"POST " + clientPath + "/rules/{rule}/edit", ofClient, p.saveRule},
		{"POST " + clientPath + "/rules/{rule}/test", ofClient, p.testRule},
		{"GET " + clientPath + "/rules/{rule}/delete", ofClient, p.askDeleteRule},
		{"POST " + clientPath + "/rules/{rule}/delete", ofClient, p.deleteRule},

		{"GET " + clientPath + "/settings", ofClient, p.profile},
		{"POST " + clientPath + "/settings", ofClient, p.saveProfile},
		{"GET " + clientPath + "/settings/security", ofClient, p.security},
		{"POST " + clientPath + "/settings/security", ofClient, p.saveSecurity},
		{"GET " + clientPath + "/settings/keys", ofClient, p.keys},
		{"POST " + clientPath + "/settings/keys", ofClient, p.createKey},
		{"GET " + clientPath + "/settings/keys/{key}/revoke", ofClient, p.askRevokeKey},
		{"POST " + clientPath + "/settings/keys/{key}/revoke", ofClient, p.revokeKey},
		{"GET " + clientPath + "/settings/mail", ofClient, p.mail},
		{"POST " + clientPath + "/settings/mail", ofClient, p.allowMail},
		{"GET " + clientPath + "/settings/notifications", ofClient, p.notifications},
		{"POST " + clientPath + "/settings/notifications", ofClient, p.saveNotifications},
		{"GET " + clientPath + "/settings/audit", ofClient, p.auditLog},
	}
}

// Patterns returns the patterns of all routes but the streams, for tests that open every page.
func Patterns() (all []string) {
	for _, at := range (&portal{}).routes() {
		if at.pattern != livePattern {
			all = append(all, at.pattern)
		}
	}
	return all
}

// navigation are the links on top of a client's pages, in their order. Key is the letter that goes
// there after g.
var navigation = []navItem{
	{Name: "Overview", Path: "", Key: "o"},
	{Name: "Events", Path: "/events", Key: "e"},
	{Name: "Deliveries", Path: "/deliveries", Key: "d"},
	{Name: "Rules", Path: "/rules", Key: "r"},
	{Name: "Catalogue", Path: "/catalogue", Key: "c"},
	{Name: "Inbox", Path: inboxPath, Key: "i"},
	{Name: "Settings", Path: "/settings", Key: "s"},
}

// isCurrent reports whether a path is that of an item of the operator's, or below it.
func (i navItem) isCurrent(path string) bool {
	return slices.ContainsFunc(operatorPaths[i.Path], func(start string) bool {
		return path == start || strings.HasPrefix(path, start+"/")
	})
}

// operatorPaths are where the pages of each item of the operator's navigation are.
var operatorPaths = map[string][]string{
	"clients": {Path + "clients", Path + "operator/clients"}, "event-types": {eventTypesPath, eventTypePath}, "system": {Path + "system"},
}

// navItem is a link in the navigation.
type navItem struct{ Name, Path, Key string }
