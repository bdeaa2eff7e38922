package portal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"herald"
	"herald/internal/api"
)

// Limits on wrong keys and links from one address. A right key is never refused because of others from the
// address: many people may share one.
const (
	// freeFailures is how many an address has in a failureWindow before the next ones have to wait.
	freeFailures  = 5
	failureWindow = 15 * time.Minute
	// firstWait doubles with each further failure, up to longestWait.
	firstWait   = time.Second
	longestWait = time.Minute
	// maxHold is how long the answer to a wrong key is held back at most.
	maxHold = 2 * time.Second
)

// signInPage is what the page of the sign-in shows.
type signInView struct {
	Next  string
	Error string
}

// signInPage shows the form for a key.
func (p *portal) signInPage(r *http.Request, _ visit) (answer, error) {
	return page("signin.html", "Sign in", signInView{Next: localPath(r.URL.Query().Get("next"), "")}), nil
}

// signIn exchanges a key for a session.
func (p *portal) signIn(r *http.Request, _ visit) (answer, error) {
	next := localPath(r.PostForm.Get("next"), Path)
	by, err := p.Keys.ByKey(r.Context(), strings.TrimSpace(r.PostForm.Get("key")))
	if herald.CodeOf(err) == herald.CodeUnauthorized {
		status, text, wait := p.refuse(r, "No one has this key. Check that all of it was pasted, and that it was not revoked.")
		a := page("signin.html", "Sign in", signInView{next, text})
		a.status, a.retryAfter = status, wait
		return a, nil
	}
	if err != nil {
		return answer{}, err
	}
	return p.begin(r, by, next)
}

// begin makes a session and leads to a page. The session that the browser had ends.
func (p *portal) begin(r *http.Request, by herald.Caller, next string) (answer, error) {
	token, err := p.Sessions.CreateSession(r.Context(), by)
	if err != nil {
		return answer{}, err
	}
	a := seeOther("%s", next)
	a.cookies = []*http.Cookie{p.sessionOf(token)}
	return a, p.endFormer(r)
}

func (p *portal) sessionOf(token string) *http.Cookie {
	return p.cookie(sessionCookie, token, int(herald.SessionLife.Seconds()))
}

// endFormer ends the session that a request's cookie has.
func (p *portal) endFormer(r *http.Request) error {
	if former := p.sessionCookie(r); former != "" {
		return p.Sessions.EndSession(r.Context(), former)
	}
	return nil
}

// refuse counts a wrong key or link, and returns how it is answered. After a few the answers are
// late and say how long to wait.
func (p *portal) refuse(r *http.Request, text string) (status int, said string, wait time.Duration) {
	wait, _ = p.failures.Count(api.CallerAddress(r.Context()), time.Now())
	if wait == 0 {
		return http.StatusUnauthorized, text, 0
	}
	hold(r.Context(), min(wait, maxHold))
	return http.StatusTooManyRequests, "Too many keys and links that cannot be used came from your address. Wait " + span(wait) + ", and try again.", wait
}

// hold waits.
func hold(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// linkView is what the page of portal links shows.
type linkView struct{ Error string }

// linkPage has the form for a link's secret. A script fills it in from the fragment.
func (p *portal) linkPage(_ *http.Request, _ visit) (answer, error) {
	return page("link.html", "Open the portal", linkView{}), nil
}

// redeemLink exchanges a link's secret for a session. Without a script people paste the whole link.
func (p *portal) redeemLink(r *http.Request, _ visit) (answer, error) {
	secret := strings.TrimSpace(r.PostForm.Get("secret"))
	if _, fragment, isLink := strings.Cut(secret, "#"); isLink {
		secret = fragment
	}
	l, token, err := p.Sessions.RedeemPortalLink(r.Context(), secret)
	if herald.CodeOf(err) == herald.CodeUnauthorized {
		status, text, wait := p.refuse(r, "This link has been used or has expired. Ask for a new one where you got it.")
		a := page("link.html", "Open the portal", linkView{text})
		a.status, a.retryAfter = status, wait
		return a, nil
	}
	if err != nil {
		return answer{}, err
	}
	a := seeOther("%s", client{ID: l.ClientID}.path(l.Path))
	a.cookies = []*http.Cookie{p.sessionOf(token)}
	return a, p.endFormer(r)
}

// signOut ends the session of this browser.
func (p *portal) signOut(r *http.Request, _ visit) (answer, error) {
	return p.signedOut("signed-out"), p.endFormer(r)
}

// signOutEverywhere ends all sessions of the key.
func (p *portal) signOutEverywhere(r *http.Request, v visit) (answer, error) {
	return p.signedOut("ended-all"), p.Sessions.EndSessions(r.Context(), v.caller)
}

func (p *portal) signedOut(notice string) answer {
	a := seeOther("%ssign-in?notice=%s", Path, notice)
	a.cookies = []*http.Cookie{p.cookie(sessionCookie, "", -1)}
	return a
}

// savePreferences sets how the visitor wants the pages.
func (p *portal) savePreferences(r *http.Request, v visit) (answer, error) {
	to := v.prefs
	if form := r.PostForm; form.Has("theme") {
		switch theme := form.Get("theme"); theme {
		case "light", "dark", "":
			to.Theme = theme
		default:
			return answer{}, herald.Errorf(herald.CodeInvalid, "There is no theme %.20q; there are light, dark, and none for the system's.", theme)
		}
	}
	if form := r.PostForm; form.Has("keys") {
		to.NoKeys = form.Get("keys") == "off"
	}
	a := seeOther("%s", localPath(r.PostForm.Get("back"), Path))
	a.cookies = []*http.Cookie{p.cookie(preferenceCookie, to.String(), 365*24*60*60)}
	return a, nil
}

// home leads to the pages of who is signed in.
func (p *portal) home(r *http.Request, v visit) (answer, error) {
	switch {
	case !strings.HasSuffix(r.URL.Path, "/"):
		return seeOther("%s", Path), nil
	case v.caller.Operator:
		return seeOther("%sclients", Path), nil
	}
	return seeOther("%s", client{ID: v.caller.Key.ClientID}.path("")), nil
}
