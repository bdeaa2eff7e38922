package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"herald/internal/cli"
)

// certificateFiles writes the certificate of Go's own test servers, which is for
// 127.0.0.1, and its key to files.
func certificateFiles(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	private, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: server.Certificate().Raw}, key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return cert, key, roots
}

// TestAPIOverTLS runs the service with a certificate and calls it with a command. The
// command trusts the certificate through Go's variable SSL_CERT_FILE.
func TestAPIOverTLS(t *testing.T) {
	cert, key, roots := certificateFiles(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	operatorKey, log := randomKey, newScreen()
	process := exec.CommandContext(t.Context(), program, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--drain-delay", "0s")
	process.Env = append(os.Environ(), asHerald+"=1", "HERALD_OPERATOR_KEY="+operatorKey, "HERALD_TLS_CERT="+cert, "HERALD_TLS_KEY="+key)
	process.Stderr = log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = process.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := process.Wait(); err != nil {
			t.Errorf("%v:\n%s", err, log)
		}
	}()
	address := log.wait(t, `address=(https://\S+)`)[1]

	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 || response.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%s by %s, TLS version %x; want 200 by HTTP/2 and TLS 1.3", response.Status, response.Proto, response.TLS.Version)
	}
	old := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if connection, err := tls.Dial("tcp", strings.TrimPrefix(address, "https://"), old); err == nil {
		connection.Close()
		t.Error("TLS 1.1 is taken")
	}

	for trusted, want := range map[string]int{cert: cli.OK, filepath.Join(t.TempDir(), "none"): cli.Network} {
		command := exec.CommandContext(t.Context(), program, "clients", "list", "--url", address, "--key", operatorKey)
		command.Env = append(os.Environ(), asHerald+"=1", "SSL_CERT_FILE="+trusted, "SSL_CERT_DIR="+t.TempDir())
		if out, _ := command.CombinedOutput(); command.ProcessState.ExitCode() != want {
			t.Errorf("a command that trusts %s: exit code %d, want %d: %s", trusted, command.ProcessState.ExitCode(), want, out)
		}
	}
}
