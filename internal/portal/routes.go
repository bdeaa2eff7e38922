package portal

import "net/http"

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

		{"GET " + clientPath, ofClient, p.overview},
		{"GET " + clientPath + "/{$}", ofClient, p.overview},
		{"GET " + clientPath + "/find", ofClient, p.find},
		{"GET " + clientPath + "/deliveries", ofClient, p.deliveries},
		{"GET " + clientPath + "/deliveries/{delivery}", ofClient, p.delivery},
		{"GET " + clientPath + "/deliveries/{delivery}/compare", ofClient, p.compare},
		{"GET " + clientPath + "/deliveries/{delivery}/body", ofClient, p.requestBody},
		{"GET " + clientPath + "/deliveries/{delivery}/attempts/{n}/body", ofClient, p.responseBody},
		{"POST " + clientPath + "/deliveries/{delivery}/redeliver", ofClient, p.redeliver},
		{"POST " + clientPath + "/deliveries/{delivery}/retry", ofClient, p.retry},
		{"GET " + clientPath + "/deliveries/{delivery}/cancel", ofClient, p.askCancel},
		{"POST " + clientPath + "/deliveries/{delivery}/cancel", ofClient, p.cancel},
	}
}

// Patterns returns the patterns of all routes, for tests that open every page.
func Patterns() (all []string) {
	for _, at := range (&portal{}).routes() {
		all = append(all, at.pattern)
	}
	return all
}

// navigation are the links on top of a client's pages, in their order. Key is the letter that goes
// there after g.
var navigation = []navItem{
	{Name: "Overview", Path: "", Key: "o"},
	{Name: "Deliveries", Path: "/deliveries", Key: "d"},
}

// navItem is a link in the navigation.
type navItem struct{ Name, Path, Key string }
