package unsubscribe

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"herald"
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

// RegisterConfirm adds the page that confirms and its POST to mux. Over the limits both answer 429.
func RegisterConfirm(mux *http.ServeMux, box *secret.Box, store Confirmations) {
	link{
		path: ConfirmPath, purpose: confirmPurpose, change: store.Confirm,
		ask: func(mailbox string) page {
			return page{Title: "Receive these alerts?", Text: "Alerts will be sent to " + mailbox + ".", Button: "Receive alerts"}
		},
		done: func(mailbox string) page {
			return page{Title: "You receive these alerts", Text: "Alerts are sent to " + mailbox + " from now on. Each mail has a link that stops them."}
		},
	}.register(mux, box)
}
