package unsubscribe

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"herald"
	"herald/internal/api"
	"herald/internal/secret"
)

// ConfirmPath is the start of the path of a link that confirms; the token follows.
const ConfirmPath = "/confirm/"

// confirmPurpose distinguishes tokens that confirm from those that stop mail: each opens only here.
var confirmPurpose = []byte("confirm a mailbox")

// Confirmations stores which mailboxes take a client's mail.
type Confirmations interface {
	// Confirm stores that a mailbox takes a client's mail, and sends what waits for that;
	// CodeNotFound when there is no such client.
	Confirm(ctx context.Context, by herald.Caller, client uuid.UUID, box string) error
}

// ConfirmToken returns the token that allows its bearer to confirm that a mailbox takes a client's
// mail. It is sent to that mailbox only.
func ConfirmToken(box *secret.Box, client uuid.UUID, mailbox string) string {
	return token(box, confirmPurpose, client, mailbox)
}

// RegisterConfirm adds the page that confirms and its POST to mux.
func RegisterConfirm(mux *http.ServeMux, box *secret.Box, store Confirmations) {
	mux.HandleFunc("GET "+ConfirmPath+"{token}", func(w http.ResponseWriter, r *http.Request) {
		// Mail scanners follow links, so a GET changes nothing.
		if _, mailbox, err := open(box, confirmPurpose, r.PathValue("token")); err != nil {
			show(w, http.StatusNotFound, page{Title: "This link is not valid", Text: "Open it from the mail again, in full."})
		} else {
			show(w, http.StatusOK, page{Title: "Receive these alerts?", Text: "Alerts will be sent to " + mailbox + ".", Button: "Receive alerts"})
		}
	})
	mux.HandleFunc("POST "+ConfirmPath+"{token}", func(w http.ResponseWriter, r *http.Request) {
		client, mailbox, err := open(box, confirmPurpose, r.PathValue("token"))
		if err == nil {
			err = store.Confirm(r.Context(), api.Reader(r), client, mailbox)
		}
		switch {
		case err == nil:
			show(w, http.StatusOK, page{Title: "You receive these alerts", Text: "Alerts are sent to " + mailbox + " from now on. Each mail has a link that stops them."})
		case errors.Is(err, errToken), herald.CodeOf(err) == herald.CodeNotFound:
			show(w, http.StatusNotFound, page{Title: "This link is not valid", Text: "Open it from the mail again, in full."})
		default:
			api.WriteError(w, r, err)
		}
	})
}
