// Package postgres gives tests a PostgreSQL server of their own: real, temporary,
// one a test process, with a schema a test.
package postgres

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Server is a PostgreSQL server.
type Server struct {
	dir     string // of the log, the socket, and data and wal unless Options say where
	data    string
	bin     string
	more    []string // settings
	who     *syscall.SysProcAttr
	port    int
	process *exec.Cmd
	ended   chan struct{} // closed once the process is gone
	failure error         // how it ended; to be read once it has
	killed  bool
	log     *os.File
	schemas atomic.Int64
}

// Options say how to make a server; the zero value will do.
type Options struct {
	// Data is the directory of its data, which must be empty; its log of changes
	// lies elsewhere then, unless LogToo.
	Data string
	// LogToo leaves the log of changes in Data, in files of 1 MB none of which is
	// used again: on a full disk there soon is no room for the next, and without
	// that the server cannot go on.
	LogToo bool
	// primary is the server that a standby follows.
	primary *Server
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs a package's tests and stops the server that they have started, if
// any. It is a package's TestMain.
func Main(m *testing.M) { Exit(m.Run()) }

// Exit stops the server and ends the process with code, for a TestMain that has
// more to do.
func Exit(code int) {
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Database returns the address of an empty schema on the process's server. The
// package's TestMain must be Main.
func Database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = Start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	address, err := shared.server.Schema()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Schema makes an empty schema and returns its address.
func (s *Server) Schema() (string, error) {
	name := fmt.Sprintf("test_%d", s.schemas.Add(1))
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		return "", err
	}
	_, err = db.Exec("CREATE SCHEMA " + name)
	return s.address(name), errors.Join(err, db.Close())
}

func (s *Server) address(schema string) string {
	return fmt.Sprintf("postgres://herald@127.0.0.1:%d/postgres?sslmode=disable&search_path=%s", s.port, schema)
}

// Start makes a cluster in a temporary directory and starts a server on it. As
// PostgreSQL refuses to run as root, root lends it an unprivileged user.
func Start() (*Server, error) { return StartWith(Options{}) }

// StartWith is Start with Options.
func StartWith(o Options) (*Server, error) {
	s := &Server{}
	if err := s.make(o); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w: %s", err, s.Said()), s.Stop())
	}
	return s, nil
}

func (s *Server) make(o Options) (err error) {
	if s.bin, err = programs(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "herald-pg-"); err != nil {
		return err
	}
	if s.log, err = os.Create(filepath.Join(s.dir, "log")); err != nil {
		return err
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	if s.who, err = credential(s.dir); err != nil {
		return err
	}
	s.data = filepath.Join(s.dir, "data")
	switch {
	case o.primary != nil:
		s.more = []string{"-c", "wal_retrieve_retry_interval=100ms"} // it finds a primary that is back soon
		err = s.run("pg_basebackup", "-D", s.data, "-d", "host=127.0.0.1 user=herald port="+strconv.Itoa(o.primary.port), "-R", "-C", "-S", "standby", "--checkpoint=fast", "--no-sync")
	case o.Data != "":
		s.data = o.Data
		if _, err = credential(s.data); err == nil {
			where := []string{"-D", s.data, "--waldir", filepath.Join(s.dir, "wal")}
			if o.LogToo {
				where = []string{"-D", s.data, "--wal-segsize", "1"}
				s.more = []string{"-c", "wal_keep_size=1GB"}
			}
			err = s.run("initdb", append(where, initdb...)...)
		}
	default:
		err = s.run("initdb", append(initdb, "-D", s.data)...)
	}
	if err != nil {
		return err
	}
	return s.Resume()
}

var initdb = []string{"-U", "herald", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"}

// run runs one of PostgreSQL's programs to its end.
func (s *Server) run(program string, args ...string) error {
	p := exec.Command(filepath.Join(s.bin, program), args...)
	p.SysProcAttr, p.Dir, p.Stdout, p.Stderr = s.who, s.dir, s.log, s.log
	return p.Run()
}

// Resume starts a server that was halted or killed, or that has ended, on what
// it left, and returns when it answers.
func (s *Server) Resume() error {
	args := append([]string{"-D", s.data, "-p", strconv.Itoa(s.port), "-k", s.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "shared_buffers=128MB"}, s.more...)
	s.process = exec.Command(filepath.Join(s.bin, "postgres"), args...)
	s.process.SysProcAttr, s.process.Dir, s.process.Stdout, s.process.Stderr = s.who, s.dir, s.log, s.log
	if err := s.process.Start(); err != nil {
		s.process = nil
		return err
	}
	s.ended, s.killed = make(chan struct{}), false
	go func() {
		s.failure = s.process.Wait()
		close(s.ended)
	}()
	return s.ready()
}

// Ended reports whether the server runs no more: it was ended, or has given up
// by itself.
func (s *Server) Ended() bool {
	if s.process == nil {
		return true
	}
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// Said is the server's log so far.
func (s *Server) Said() string {
	if s.log == nil {
		return ""
	}
	said, _ := os.ReadFile(s.log.Name()) // it is only to help
	return string(said)
}

// Halt ends the server as an administrator does who does not wait for sessions.
func (s *Server) Halt() error { return s.end(syscall.SIGINT) }

// Kill ends the server and all its processes without giving them time.
func (s *Server) Kill() error {
	if s.Ended() {
		return errors.New("kill PostgreSQL: it does not run")
	}
	server := s.process.Process
	_ = server.Signal(syscall.SIGSTOP) // or it starts another process behind our back
	// They lead process groups of their own: killing the server's is not enough.
	family := children(server.Pid)
	for _, pid := range append(family, server.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	<-s.ended
	s.process, s.killed = nil, true
	// A server does not start on what a process of the last one still holds.
	for deadline := time.Now().Add(10 * time.Second); slices.ContainsFunc(family, runs); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("kill PostgreSQL: a process of its does not end")
		}
	}
	return nil
}

// children are the processes that a process has started and that still run.
func children(parent int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if _, ppid := status(pid); err == nil && ppid == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runs reports whether a process is there and more than a zombie.
func runs(pid int) bool {
	state, _ := status(pid)
	return state != "" && state != "Z" && state != "X"
}

// status is what Linux says of a process, and nothing if it is gone.
func status(pid int) (state, parent string) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	// pid (name) state ppid; the name may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return "", ""
	}
	return fields[0], fields[1]
}

// Standby starts a server that follows this one, which from then on acknowledges
// a commit only when the standby has it.
func (s *Server) Standby() (*Server, error) {
	standby, err := StartWith(Options{primary: s})
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		return nil, errors.Join(err, standby.Stop())
	}
	defer db.Close()
	for _, text := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if _, err := db.Exec(text); err != nil {
			return nil, errors.Join(err, standby.Stop())
		}
	}
	if err := s.InSync(); err != nil {
		return nil, errors.Join(err, standby.Stop())
	}
	return standby, nil
}

// InSync waits until the standby has all that this server has. One that was
// killed and goes on shows commits that its standby has yet to get; promoted
// before that, the standby would be without them.
func (s *Server) InSync() error {
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		return err
	}
	defer db.Close()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-ticker.C {
		var state string
		err := db.QueryRow(`SELECT coalesce(max(sync_state), '') FROM pg_stat_replication`).Scan(&state)
		switch {
		case err != nil:
			return err
		case state == "sync":
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the standby does not follow: its state is %q", state)
		}
	}
}

// Promote makes a standby take writes.
func (s *Server) Promote() error {
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(`SELECT pg_promote()`)
	return err
}

// Host is where the server listens, host:port.
func (s *Server) Host() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

func (s *Server) ready() error {
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		return err
	}
	defer db.Close()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-ticker.C {
		if err = db.Ping(); err == nil || time.Now().After(deadline) {
			return err
		}
		if s.Ended() {
			return fmt.Errorf("it has ended: %w", s.failure)
		}
	}
}

// Stop ends the server at once and removes its directory.
func (s *Server) Stop() error {
	_ = s.end(syscall.SIGQUIT) // immediate shutdown, which it reports as a failure
	if s.killed {
		// One that was killed leaves its shared memory to the next, which takes it away
		// as it ends; this one ends as its input does.
		_ = s.run("postgres", "--single", "-D", s.data, "postgres")
	}
	if s.log != nil {
		s.log.Close()
	}
	return os.RemoveAll(s.dir)
}

func (s *Server) end(how syscall.Signal) error {
	if s.process == nil {
		return nil
	}
	_ = s.process.Process.Signal(how) // it may have ended
	<-s.ended
	s.process = nil
	return s.failure
}

// programs finds the directory of PostgreSQL's server programs.
func programs() (string, error) {
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/opt/homebrew/opt/postgresql@*/bin/initdb"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return filepath.Dir(found[len(found)-1]), nil
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", errors.New("PostgreSQL's programs (initdb, postgres) are not here; scripts/setup.sh installs them, or says how")
}

// credential lets a server run as postgres or nobody when this process is root,
// and gives that user the directory.
func credential(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true} // an interrupt is the test's, not the server's
	if os.Getuid() != 0 {
		return attr, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for parent := filepath.Dir(dir); strings.HasPrefix(parent, os.TempDir()) && parent != os.TempDir(); parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			return nil, err
		}
	}
	return attr, os.Chown(dir, int(uid), int(gid))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
