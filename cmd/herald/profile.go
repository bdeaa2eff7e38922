package main

import (
	"context"
	"encoding/base64"
	"io"
	"strings"

	"herald/client"
	"herald/internal/cli"
	"herald/internal/secret"
)

// profileCommand is `herald profile`.
type profileCommand struct {
	Get profileGet `cmd:"" help:"Show the client's profile."`
	Set profileSet `cmd:"" help:"Change the client's profile: what the flags name, and nothing else."`
}

var profileFields = []cli.Column[client.Profile]{
	{Head: "NAME", Cell: func(p client.Profile) string { return p.Name }},
	{Head: "REDIRECT URL", Cell: func(p client.Profile) string { return p.RedirectURL }},
	{Head: "LOGO URL", Cell: func(p client.Profile) string { return p.LogoURL }},
	{Head: "ICON URL", Cell: func(p client.Profile) string { return p.IconURL }},
	{Head: "WHITE LIST", Cell: func(p client.Profile) string { return strings.Join(p.WhiteListURLs, ", ") }},
	{Head: "CONFIRM COMPANY NAME", Cell: func(p client.Profile) string { return yesNo(p.ConfirmCompanyName) }},
	{Head: "AUTHORIZATION", Cell: func(p client.Profile) string {
		if p.AlertAuthHeader == "" {
			return "none: webhooks carry no Authorization header"
		}
		return p.AlertAuthHeader
	}},
}

// write shows a profile, with its secret masked unless it is asked for.
func (c *connection) writeProfile(out *streams, p client.Profile, showSecret bool) error {
	if p.AlertAuthHeader != "" && !showSecret {
		p.AlertAuthHeader = secret.MaskAuthorization(p.AlertAuthHeader)
	}
	return cli.WriteOne(out.stdout, c.Output, profileFields, p)
}

type profileGet struct {
	connection
	forClient
	ShowSecret bool `help:"Show the Authorization header as it is sent, with its secret."`
}

// Run shows the profile.
func (c *profileGet) Run(ctx context.Context, out *streams) error {
	service, err := c.of(c.client())
	if err != nil {
		return err
	}
	p, err := service.Profile(ctx)
	if err != nil {
		return err
	}
	return c.writeProfile(out, p, c.ShowSecret)
}

// profileSet has pointers where an empty value means something else than no flag.
type profileSet struct {
	connection
	AuthBasic          string   `xor:"auth" help:"Webhooks carry Authorization: Basic with this user and password; - reads them from standard input." placeholder:"USER:PASSWORD"`
	AuthBasicFile      string   `xor:"auth" help:"File with the user and password; - is standard input." placeholder:"FILE"`
	AuthBearer         string   `xor:"auth" help:"Webhooks carry Authorization: Bearer with this token; - reads it from standard input." placeholder:"TOKEN"`
	AuthBearerFile     string   `xor:"auth" help:"File with the token; - is standard input." placeholder:"FILE"`
	NoAuth             bool     `xor:"auth" help:"Webhooks carry no Authorization header."`
	Name               *string  `help:"The client's name, which its webhooks carry." placeholder:"NAME"`
	RedirectURL        *string  `name:"redirect-url" help:"Where people go after they have linked a company." placeholder:"URL"`
	LogoURL            *string  `name:"logo-url" help:"Address of the client's logo; empty removes it." placeholder:"URL"`
	IconURL            *string  `name:"icon-url" help:"Address of the client's icon; empty removes it." placeholder:"URL"`
	WhiteList          []string `xor:"white-list" help:"Address that may be redirected to; repeatable. It replaces the list." placeholder:"URL"`
	NoWhiteList        bool     `xor:"white-list" help:"Empty the list of addresses that may be redirected to."`
	ConfirmCompanyName *bool    `negatable:"" help:"Whether people confirm the company's name."`
}

// Run changes the profile.
func (c *profileSet) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	header, err := c.authorization(out.stdin)
	if err != nil {
		return err
	}
	if header == nil && c.Name == nil && c.RedirectURL == nil && c.LogoURL == nil && c.IconURL == nil &&
		c.WhiteList == nil && !c.NoWhiteList && c.ConfirmCompanyName == nil {
		return usageError("nothing to change: give a flag such as --auth-bearer-file FILE or --name NAME")
	}
	p, err := service.Profile(ctx)
	if err != nil {
		return err
	}
	for _, text := range []struct{ from, into *string }{
		{header, &p.AlertAuthHeader}, {c.Name, &p.Name}, {c.RedirectURL, &p.RedirectURL}, {c.LogoURL, &p.LogoURL}, {c.IconURL, &p.IconURL},
	} {
		if text.from != nil {
			*text.into = *text.from
		}
	}
	if c.WhiteList != nil || c.NoWhiteList {
		p.WhiteListURLs = append([]string{}, c.WhiteList...)
	}
	if c.ConfirmCompanyName != nil {
		p.ConfirmCompanyName = *c.ConfirmCompanyName
	}
	saved, err := service.SaveProfile(ctx, p)
	if err != nil {
		return err
	}
	return c.writeProfile(out, saved, false)
}

// authorization returns the Authorization header that the flags ask for: empty for none, nil
// without a flag. Errors do not show the secret.
func (c *profileSet) authorization(stdin io.Reader) (*string, error) {
	none := ""
	switch {
	case c.NoAuth:
		return &none, nil
	case c.AuthBasic != "" || c.AuthBasicFile != "":
		pair, err := readSecret("--auth-basic", c.AuthBasic, c.AuthBasicFile, stdin)
		if err == nil && !strings.Contains(pair, ":") {
			err = usageError("--auth-basic: want USER:PASSWORD, with a colon between them")
		}
		header := "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
		return &header, err
	case c.AuthBearer != "" || c.AuthBearerFile != "":
		token, err := readSecret("--auth-bearer", c.AuthBearer, c.AuthBearerFile, stdin)
		if err == nil && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			err = usageError("--auth-bearer: want the token alone, without the word Bearer, in visible ASCII without blanks")
		}
		header := "Bearer " + token
		return &header, err
	}
	return nil, nil
}

// readSecret returns a secret from the command line, from a file or from standard input. The line
// break at the end of a file is not part of it.
func readSecret(flag, value, file string, stdin io.Reader) (string, error) {
	if value == "-" {
		file = "-"
	}
	if file != "" {
		text, err := readInput(flag+"-file", file, stdin)
		if err != nil {
			return "", err
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	}
	if value == "" {
		return "", usageError("%s: the secret is empty; --no-auth takes the header away", flag)
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		return "", usageError("%s: the secret has more than one line", flag)
	}
	return value, nil
}
