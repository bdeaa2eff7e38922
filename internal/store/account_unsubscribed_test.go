package store

import (
	"strings"
	"testing"
	"time"

	"herald"
	"herald/internal/policy"
)

// TestOneMailboxInAllItsSpellings: Unicode and punycode are one mailbox for unsubscribing and for the
// limit of mails, also for rows that an older version stored.
func TestOneMailboxInAllItsSpellings(t *testing.T) { onBoth(t, testOneMailboxInAllItsSpellings) }

func testOneMailboxInAllItsSpellings(t *testing.T, f *fixture) {
	const unicode, punycode = "Ann@Bücher.example", "ann@xn--bcher-kva.example"
	for _, box := range []string{unicode, punycode} {
		if err := f.Unsubscribe(t.Context(), operator, f.client.ID, box); err != nil {
			t.Fatal(err)
		}
	}
	if boxes, err := f.Unsubscribed(t.Context(), f.client.ID); err != nil || len(boxes) != 1 {
		t.Errorf("unsubscribed %+v, %v, want one mailbox", boxes, err)
	}
	if _, err := f.write.ExecContext(t.Context(), `INSERT INTO unsubscribed (client_id, address, at) VALUES ($1, $2, 1)`, f.client.ID[:], strings.ToLower(unicode)); err != nil {
		t.Fatal(err)
	}
	if err := f.Resubscribe(t.Context(), operator, f.client.ID, punycode); err != nil {
		t.Fatal(err)
	}
	if boxes, err := f.Unsubscribed(t.Context(), f.client.ID); err != nil || len(boxes) != 0 {
		t.Errorf("still unsubscribed: %+v, %v", boxes, err)
	}
	wantCode(t, f.Resubscribe(t.Context(), operator, f.client.ID, unicode), herald.CodeNotFound)

	const window = time.Hour
	actions := make(map[policy.MailAction]int)
	for _, box := range []string{unicode, punycode, unicode, punycode} { // 3 of a window are sent
		action, _ := f.decideMail(f.acceptMails(1, box)[0], window)
		actions[action]++
	}
	if actions[policy.SendMail] != 3 || actions[policy.CarryDigest] != 1 {
		t.Errorf("actions %v, want 3 sent and one waiting", actions)
	}
	// An older version has begun this window.
	if _, err := f.write.ExecContext(t.Context(), `UPDATE mail_windows SET address = $1`, strings.ToLower(unicode)); err != nil {
		t.Fatal(err)
	}
	if action, _ := f.decideMail(f.acceptMails(1, unicode)[0], window); action != policy.JoinDigest {
		t.Errorf("in a window of an older version: action %d, want it to join the digest", action)
	}
}
