package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"herald/internal/cli"
)

// maxHealthAnswer bounds how much of an answer a health check reads and shows, in bytes.
const maxHealthAnswer = 4 << 10

// healthcheckCommand is `herald healthcheck`. It finds the service of the same machine or container by
// the variables that herald serve reads. It needs no key.
type healthcheckCommand struct {
	Listen  string        `help:"Address that the API listens on, as of herald serve." env:"HERALD_LISTEN" default:"127.0.0.1:8080"`
	TLSCert string        `name:"tls-cert" help:"The certificate file of herald serve: with it the API is asked by HTTPS." env:"HERALD_TLS_CERT" placeholder:"FILE" type:"path"`
	Live    bool          `help:"Ask only whether the process lives (/healthz), not whether it can serve (/readyz)."`
	Timeout time.Duration `help:"How long the answer may take." default:"5s"`
}

// Run asks the service. Every error ends with exit code 1: Docker reserves the others.
func (c *healthcheckCommand) Run(ctx context.Context, out *streams) error {
	if err := checkAddress("--listen", c.Listen); err != nil {
		return err
	}
	if _, port, _ := net.SplitHostPort(c.Listen); port == "0" {
		return usageError("--listen %s: with port 0 nobody knows where the service is; give it a port of its own", c.Listen)
	}
	if c.Timeout <= 0 {
		return usageError("--timeout %v: give a positive time such as 5s", c.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	status, answer, err := c.ask(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v", c.Listen, c.Timeout)
	case err != nil:
		return err
	case status != http.StatusOK:
		return fmt.Errorf("%s: status %d: %s", c.Listen, status, answer)
	}
	_, err = fmt.Fprintln(out.stdout, answer)
	return err
}

// ask calls the service at its listening address, whatever the environment says about proxies. Nothing
// secret is sent, and the certificate names the service's public name rather than this address. So it is
// not verified.
func (c *healthcheckCommand) ask(ctx context.Context) (status int, answer string, err error) {
	address := "http://localhost"
	if c.TLSCert != "" {
		address = "https://localhost"
	}
	path := "/readyz"
	if c.Live {
		path = "/healthz"
	}
	caller := &http.Client{
		Transport: &http.Transport{
			// A dial to an address without a host, or to 0.0.0.0 or [::], goes to this machine (package net).
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", c.Listen)
			},
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := caller.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxHealthAnswer))
	return response.StatusCode, strings.TrimSpace(cli.Clean(string(text))), err
}
