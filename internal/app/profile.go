package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"herald/internal/egress"
)

// CheckProfileListen returns an error unless address is host:port with a loopback IP address.
// A profile shows parts of the memory, so it is for this machine only.
func CheckProfileListen(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q is no IP address with a port; use 127.0.0.1:6060", address)
	}
	if !at.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%q is reachable from other machines; use 127.0.0.1:%d", address, at.Port())
	}
	return nil
}

// listenForProfiles serves net/http/pprof at an address of its own. Its answers have no deadline,
// because a profile takes as long as its caller asks.
func (a *App) listenForProfiles(ctx context.Context, guard *egress.Guard) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.ProfileListen)
	if err != nil {
		return fmt.Errorf("profile listen address %q: %w", a.config.ProfileListen, err)
	}
	a.profileAddress = listener.Addr()
	guard.DenyOwn(a.profileAddress)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	a.profileServer = a.newServer(onlyFor(a.profileAddress.String(), mux))
	a.profileServer.WriteTimeout = 0
	go func() {
		if err := a.profileServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve profiles: %w", err)
		}
	}()
	return nil
}

// onlyFor refuses requests whose Host is not address: a page in a browser on this machine can reach
// the listener under a name of its own.
func onlyFor(address string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != address {
			http.Error(w, "profiles are at http://"+address+"/debug/pprof/", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ProfileAddress returns where the profiles are, host:port; empty if they are nowhere.
func (a *App) ProfileAddress() string {
	if a.profileAddress == nil {
		return ""
	}
	return a.profileAddress.String()
}
