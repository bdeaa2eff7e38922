package explain

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// TestRepeatsSayWhatBecameOfTheAlert: what reached the receiver counts before what is on its way, and that before
// what failed later.
func TestRepeatsSayWhatBecameOfTheAlert(t *testing.T) {
	const hook, box = "https://a.example/", "mailto:ann@a.example"
	at := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	made := func(n int, state herald.State, address string) herald.Delivery {
		return herald.Delivery{ID: uuid.MustParse("019ab0c1-2222-7333-8444-55555500010" + string(rune('0'+n))), State: state, Address: address,
			MadeAt: at.Add(time.Duration(n) * time.Minute), DoneAt: at.Add(time.Duration(n) * time.Minute)}
	}
	failed := made(0, herald.Failed, hook)
	failed.MadeAt = time.Time{} // it was made with its alert
	id := func(n int) string { return made(n, herald.Failed, hook).ID.String() }
	for name, test := range map[string]struct {
		d      herald.Delivery
		others []herald.Delivery
		want   string
		enough bool
	}{
		"nothing":          {failed, nil, "", false},
		"itself":           {failed, []herald.Delivery{failed}, "", false},
		"delivered":        {failed, []herald.Delivery{made(3, herald.Failed, hook), made(2, herald.Pending, hook), made(1, herald.Delivered, "https://b.example/"), failed}, "The alert reached this receiver with the delivery " + id(1) + ", at 09:01.", true},
		"pending":          {failed, []herald.Delivery{made(2, herald.Pending, hook), made(1, herald.Failed, hook), failed}, "The alert is being sent again, as the delivery " + id(2) + ".", true},
		"failed again":     {failed, []herald.Delivery{made(2, herald.Failed, hook), made(1, herald.Cancelled, hook), failed}, "It was sent again as the delivery " + id(2) + ", which failed too.", false},
		"cancelled again":  {failed, []herald.Delivery{made(1, herald.Failed, hook), made(2, herald.Cancelled, hook)}, "It was sent again as the delivery " + id(2) + ", which was cancelled.", false},
		"failed before":    {made(2, herald.Failed, hook), []herald.Delivery{failed, made(1, herald.Failed, hook)}, "", false},
		"delivered before": {made(2, herald.Failed, hook), []herald.Delivery{made(1, herald.Delivered, hook)}, "The alert reached this receiver with the delivery " + id(1) + ", at 09:01.", true},
		"another kind":     {failed, []herald.Delivery{made(1, herald.Delivered, box)}, "", false},
		"another mailbox":  {made(0, herald.Failed, box), []herald.Delivery{made(1, herald.Delivered, "mailto:bob@a.example")}, "", false},
		"the same mailbox": {made(0, herald.Failed, box), []herald.Delivery{made(1, herald.Delivered, "mailto:Ann@A.example")}, "The alert reached this receiver with the delivery " + id(1) + ", at 09:01.", true},
	} {
		got, enough := Repeats(test.d, test.others, func(t time.Time) string { return t.Format("15:04") })
		if got != test.want || enough != test.enough {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, enough, test.want, test.enough)
		}
	}
}
