package main

import (
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
	"herald/internal/secret"
	"herald/internal/test/postgres"
)

// service is one or more nodes of herald serve with one client.
type service struct {
	dir    string
	nodes  []*node
	key    string
	server *postgres.Server // nil on SQLite
	// database is the address of the server's database.
	database string
}

// node is one process.
type node struct {
	address  string
	profiles string // where its profiles are, if they are asked for
	process  *exec.Cmd
	log      *os.File // a file, as a service manager gives it
	binary   string
	args     []string
}

const operatorKey = "bench-operator-key-0123456789abcdef"

// startService starts the nodes, and makes a rule for each of the receiver addresses.
func startService(ctx context.Context, o options, receivers ...string) (*service, error) {
	dir, err := os.MkdirTemp("", "herald-bench-")
	if err != nil {
		return nil, err
	}
	s := &service{dir: dir}
	if err := s.start(ctx, o, receivers); err != nil {
		return nil, errors.Join(err, s.logs(), s.stop())
	}
	return s, nil
}

func (s *service) start(ctx context.Context, o options, receivers []string) error {
	binary := o.binary
	if binary == "" {
		binary = filepath.Join(s.dir, "herald")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "herald/cmd/herald")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build herald: %w: %s", err, out)
		}
	}
	args := []string{"serve", "--data", filepath.Join(s.dir, "data"), "--allow-target", "127.0.0.0/8", "--drain-delay", "0s"}
	if o.postgres {
		more, err := s.startPostgres(o.roundTrip)
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	for i := range o.nodes {
		log, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("log-%d", i)))
		if err != nil {
			return err
		}
		n := &node{log: log, binary: binary}
		if n.address, err = freeAddress(); err != nil {
			return err
		}
		n.args = append([]string{}, append(args, "--listen", n.address)...)
		if o.profile {
			if n.profiles, err = freeAddress(); err != nil {
				return err
			}
			n.args = append(n.args, "--profile-listen", n.profiles)
		}
		s.nodes = append(s.nodes, n)
		if err := n.start(ctx, 10*time.Second); err != nil {
			return err
		}
	}
	return s.setUp(ctx, receivers)
}

// start starts the process and returns when it is ready.
func (n *node) start(ctx context.Context, timeout time.Duration) error {
	n.process = exec.Command(n.binary, n.args...)
	n.process.Env = append(os.Environ(), "HERALD_OPERATOR_KEY="+operatorKey)
	n.process.Stdout, n.process.Stderr = n.log, n.log
	if err := n.process.Start(); err != nil {
		return err
	}
	operator, err := client.New("http://"+n.address, operatorKey)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for operator.Ready(ctx) != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("herald is not ready after %v", timeout)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// end sends the process a signal and waits for its end.
func (n *node) end(how os.Signal) error {
	err := n.process.Process.Signal(how)
	wait := n.process.Wait()
	n.process = nil
	return errors.Join(err, wait)
}

// logs returns the ends of the nodes' logs as an error.
func (s *service) logs() error {
	var errs []error
	for _, n := range s.nodes {
		text, err := os.ReadFile(n.log.Name())
		errs = append(errs, err, fmt.Errorf("the log of herald: %s", text[max(0, len(text)-2000):]))
	}
	return errors.Join(errs...)
}

// startPostgres starts a server and returns the flags that make herald use it. roundTrip is by how much longer
// a round trip to it takes.
func (s *service) startPostgres(roundTrip time.Duration) ([]string, error) {
	var err error
	if s.server, err = postgres.Start(); err != nil {
		return nil, err
	}
	if s.database, err = s.server.Schema(); err != nil {
		return nil, err
	}
	address := s.database
	if roundTrip > 0 {
		if address, err = delayed(s.database, roundTrip); err != nil {
			return nil, err
		}
	}
	keyFile := filepath.Join(s.dir, "secret.key")
	_, err = secret.LoadOrMakeKey(keyFile)
	return []string{"--database", address, "--secret-key-file", keyFile}, err
}

func (s *service) setUp(ctx context.Context, receivers []string) error {
	operator, err := client.New("http://"+s.nodes[0].address, operatorKey)
	if err != nil {
		return err
	}
	if _, err := operator.PutEventType(ctx, herald.EventType{Name: "bench", Message: "Benchmark event", Company: true}); err != nil {
		return err
	}
	s.key, err = s.tenant(ctx, receivers...)
	return err
}

// tenant makes a client with a rule for each of the addresses, and returns its key.
func (s *service) tenant(ctx context.Context, receivers ...string) (string, error) {
	operator, err := client.New("http://"+s.nodes[0].address, operatorKey)
	if err != nil {
		return "", err
	}
	made, err := operator.CreateClient(ctx, "Bench")
	if err != nil {
		return "", err
	}
	tenant, err := client.New("http://"+s.nodes[0].address, made.APIKey)
	if err != nil {
		return "", err
	}
	for _, receiver := range receivers {
		if _, err := tenant.CreateRule(ctx, client.Rule{Type: "bench", Notifiers: client.Notifiers{Webhook: receiver}}); err != nil {
			return "", err
		}
	}
	return made.APIKey, nil
}

func (s *service) load(events, perRequest, publishers int) load {
	var targets []string
	for _, n := range s.nodes {
		targets = append(targets, n.address)
	}
	return load{targets: targets, path: "/events", key: s.key, events: events, perRequest: perRequest, publishers: publishers, body: eventBody}
}

func (s *service) pacedLoad(rate int, length time.Duration, publishers int) load {
	l := s.load(rate*int(length/time.Second), 1, publishers)
	l.interval = time.Second / time.Duration(rate)
	return l
}

func (s *service) stop() error {
	var err error
	for _, n := range s.nodes {
		if n.process != nil {
			err = errors.Join(err, n.end(syscall.SIGTERM))
		}
		err = errors.Join(err, n.log.Close())
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
