package settings

import (
	"slices"
	"strings"
	"testing"

	"herald"
)

// TestWhatIsWrongWithNotifications is a table of the members that have a problem.
func TestWhatIsWrongWithNotifications(t *testing.T) {
	checkURL := func(raw string) error {
		if !strings.HasPrefix(raw, "https://") {
			return herald.Invalid("webhook", "not an address")
		}
		return nil
	}
	many := slices.Repeat([]string{"https://a.example"}, herald.MaxNotified+1)
	for _, test := range []struct {
		n    herald.Notifications
		want []string
	}{
		{herald.Notifications{AfterMinutes: 1, Webhooks: many[1:]}, nil},
		{herald.Notifications{AfterDeliveries: herald.MaxAfterDeliveries, Mailboxes: []string{"ops@acme.example"}}, nil},
		{herald.Notifications{}, []string{"failingAfterMinutes", "mailboxes"}},
		{herald.Notifications{AfterMinutes: herald.MaxAfterMinutes + 1, AfterDeliveries: -1, Webhooks: many}, []string{"failingAfterMinutes", "failingAfterDeliveries", "webhooks"}},
		{herald.Notifications{AfterMinutes: 1, Mailboxes: []string{"none"}, Webhooks: []string{"ftp://a.example"}}, []string{"mailboxes", "webhooks"}},
	} {
		var got []string
		for _, p := range CheckNotifications(test.n, checkURL) {
			got = append(got, p.Member)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: problems of %q, want %q", test.n, got, test.want)
		}
	}
}
