package store

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"herald"
	"herald/internal/secret"
)

// TestSecretsAreResealed: after a change of keys, every secret is sealed with the first key. A
// secret that no key opens stays and is named in the error.
func TestSecretsAreResealed(t *testing.T) { onBoth(t, testSecretsAreResealed) }

func testSecretsAreResealed(t *testing.T, f *fixture) {
	keys := []secret.Key{{1}, {2}, {3}}
	save := func(name string, key secret.Key) herald.Client {
		f.box = secret.NewBox(key)
		c := f.newClient(name)
		if err := f.SaveProfile(t.Context(), operator, c.ID, herald.Profile{Name: name, AlertAuthHeader: "Basic " + name}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var clients []herald.Client
	for i := range 5 {
		clients = append(clients, save(fmt.Sprint("client ", i), keys[i%2]))
	}
	lost := save("lost", keys[2])
	f.box = secret.NewBox(keys[1], keys[0])
	n, err := f.Reseal(t.Context())
	if n != 3 || err == nil || !strings.Contains(err.Error(), lost.ID.String()) {
		t.Errorf("Reseal = %d, %v; want 3, and the client whose key is lost", n, err)
	}
	if n, err := f.Reseal(t.Context()); n != 0 || err == nil {
		t.Errorf("again: Reseal = %d, %v; want 0, and the client whose key is lost", n, err)
	}
	f.box = secret.NewBox(keys[1])
	for i, c := range clients {
		got, err := f.Client(t.Context(), c.ID)
		if err != nil || got.Profile.AlertAuthHeader != fmt.Sprint("Basic client ", i) {
			t.Errorf("client %d has %q, %v", i, got.Profile.AlertAuthHeader, err)
		}
		sealed, err := first(t.Context(), f.read, scanBytes, `SELECT auth FROM clients WHERE id = $1`, c.ID[:])
		if err != nil || !bytes.HasPrefix(sealed, f.box.Prefix()) {
			t.Errorf("client %d is sealed with another key (%v)", i, err)
		}
	}
}
