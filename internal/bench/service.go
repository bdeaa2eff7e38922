package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"herald"
	"herald/client"
	"herald/internal/pgtest"
	"herald/internal/secret"
)

// service is `herald serve` with one client and one rule for all its events.
type service struct {
	dir     string
	process *exec.Cmd
	address string
	key     string
	output  bytes.Buffer
	server  *pgtest.Server // nil on SQLite
}

const operatorKey = "bench-operator-key-0123456789abcdef"

func startService(ctx context.Context, o options, receiver string) (*service, error) {
	dir, err := os.MkdirTemp("", "herald-bench-")
	if err != nil {
		return nil, err
	}
	s := &service{dir: dir}
	if err := s.start(ctx, o, receiver); err != nil {
		return nil, errors.Join(err, fmt.Errorf("herald said: %s", s.output.String()), s.stop())
	}
	return s, nil
}

func (s *service) start(ctx context.Context, o options, receiver string) error {
	binary := o.binary
	if binary == "" {
		binary = filepath.Join(s.dir, "herald")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "herald/cmd/herald")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build herald: %w: %s", err, out)
		}
	}
	var err error
	if s.address, err = freeAddress(); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "log")) // a file, as under a service manager
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"serve", "--listen", s.address, "--data", filepath.Join(s.dir, "data"), "--allow-target", "127.0.0.0/8"}
	if o.postgres {
		more, err := s.startPostgres()
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	s.process = exec.Command(binary, args...)
	s.process.Env = append(os.Environ(), "HERALD_OPERATOR_KEY="+operatorKey)
	s.process.Stdout, s.process.Stderr = &s.output, log
	if err := s.process.Start(); err != nil {
		return err
	}
	return s.setUp(ctx, receiver)
}

// startPostgres starts a server and returns the flags that make herald use it.
func (s *service) startPostgres() ([]string, error) {
	var err error
	if s.server, err = pgtest.Start(); err != nil {
		return nil, err
	}
	address, err := s.server.Schema()
	if err != nil {
		return nil, err
	}
	keyFile := filepath.Join(s.dir, "secret.key")
	_, err = secret.LoadOrMakeKey(keyFile)
	return []string{"--database", address, "--secret-key-file", keyFile}, err
}

func (s *service) setUp(ctx context.Context, receiver string) error {
	operator, err := client.New("http://"+s.address, operatorKey)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for operator.Ready(ctx) != nil {
		if ctx.Err() != nil {
			return errors.New("herald is not ready after 10 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := operator.PutEventType(ctx, herald.EventType{Name: "bench", Message: "Benchmark event", Company: true}); err != nil {
		return err
	}
	made, err := operator.CreateClient(ctx, "Bench")
	if err != nil {
		return err
	}
	s.key = made.APIKey
	tenant, err := client.New("http://"+s.address, s.key)
	if err != nil {
		return err
	}
	_, err = tenant.CreateRule(ctx, client.Rule{Type: "bench", Notifiers: client.Notifiers{Webhook: receiver}})
	return err
}

func (s *service) load(events, perRequest, publishers int) load {
	return load{target: s.address, path: "/events", key: s.key, events: events, perRequest: perRequest, publishers: publishers, body: eventBody}
}

func (s *service) pacedLoad(rate int, length time.Duration, publishers int) load {
	l := s.load(rate*int(length/time.Second), 1, publishers)
	l.interval = time.Second / time.Duration(rate)
	return l
}

func (s *service) stop() error {
	var err error
	if s.process != nil && s.process.Process != nil {
		err = errors.Join(s.process.Process.Signal(syscall.SIGTERM), s.process.Wait())
	}
	if s.server != nil {
		err = errors.Join(err, s.server.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
