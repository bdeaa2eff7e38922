package main

import "herald/internal/app"

// outwardFlags are the flags of serve that bound what clients cause outside.
type outwardFlags struct {
	MailsPerDay        int  `help:"How many mails each client may cause in a day in UTC, on all nodes together; later ones fail. 0: any number." env:"HERALD_MAILS_PER_DAY" default:"0"`
	MailboxesPerDay    int  `help:"To how many mailboxes each client's mails may go in a day in UTC; later ones fail. 0: any number." env:"HERALD_MAILBOXES_PER_DAY" default:"0"`
	AttemptsPerAddress int  `help:"How many attempts a second each node makes to one IP address, whatever names it has; others wait. 0: any number." env:"HERALD_ATTEMPTS_PER_ADDRESS" default:"0"`
	ConfirmMailboxes   bool `help:"Ask each mailbox by mail before alerts are sent to it, and wait until it has confirmed. Needs --public-url." env:"HERALD_CONFIRM_MAILBOXES"`
	RequireConsent     bool `help:"Ask each webhook's receiver with an OPTIONS request whether it may be called, and wait until it consents. Needs --public-url." env:"HERALD_REQUIRE_CONSENT"`
}

// config sets the bounds of what clients cause outside.
func (f outwardFlags) config(config *app.Config) error {
	for _, flag := range []struct {
		name  string
		value int
	}{
		{"--mails-per-day", f.MailsPerDay}, {"--mailboxes-per-day", f.MailboxesPerDay}, {"--attempts-per-address", f.AttemptsPerAddress},
	} {
		if flag.value < 0 {
			return usageError("%s %d: give a number such as 100, or 0 for no limit", flag.name, flag.value)
		}
	}
	config.Outward = app.Outward{
		MailsPerDay: f.MailsPerDay, MailboxesPerDay: f.MailboxesPerDay, AttemptsPerAddress: f.AttemptsPerAddress,
		ConfirmMailboxes: f.ConfirmMailboxes, RequireConsent: f.RequireConsent,
	}
	if err := config.CheckOutward(); err != nil {
		return usageError("%v", err)
	}
	return nil
}
