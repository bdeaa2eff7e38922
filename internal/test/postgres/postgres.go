// Package postgres gives tests a real PostgreSQL server that exists only for them: one server for
// each test process, one schema for each test.
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

// Server is a PostgreSQL server in a temporary directory.
type Server struct {
	dir     string // has the log, the socket, and data and WAL unless Options name another place
	data    string
	bin     string
	more    []string             // more settings
	who     *syscall.SysProcAttr // the user that the server runs as
	port    int
	process *exec.Cmd
	ended   chan struct{} // closed once the process is gone
	failure error         // how it ended; only read after ended is closed
	killed  bool
	log     *os.File
	schemas atomic.Int64
}

// Options say how to make a server. The zero value makes an ordinary one.
type Options struct {
	// Data is the directory of its data, which must be empty. Its write-ahead log (WAL) is
	// elsewhere then, unless WALInData.
	Data string
	// WALInData puts the WAL into Data too, in files of 1 MB that are not used again. On a full
	// disk there soon is no room for the next file, and without it the server cannot continue.
	WALInData bool
	// primary is the server that a standby follows.
	primary *Server
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs a package's tests and then stops the server, if they have started one. A package calls
// it from TestMain.
func Main(m *testing.M) { Exit(m.Run()) }

// Exit stops the server and ends the process with code. A TestMain that does more calls it instead
// of Main.
func Exit(code int) {
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "test PostgreSQL server:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Database returns the address of an empty schema on the server of this process. The package's
// TestMain must call Main or Exit.
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

// Start makes a cluster in a temporary directory and starts a server on it. PostgreSQL refuses to
// run as root, so under root it runs as an unprivileged user.
func Start() (*Server, error) { return StartWith(Options{}) }

// StartWith is Start with Options.
func StartWith(o Options) (*Server, error) {
	s := &Server{}
	if err := s.make(o); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w: %s", err, s.Log()), s.Stop())
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
		s.more = []string{"-c", "wal_retrieve_retry_interval=100ms"} // it soon reconnects to a primary that is back
		err = s.run("pg_basebackup", "-D", s.data, "-d", "host=127.0.0.1 user=herald port="+strconv.Itoa(o.primary.port), "-R", "-C", "-S", "standby", "--checkpoint=fast", "--no-sync")
	case o.Data != "":
		s.data = o.Data
		if _, err = credential(s.data); err == nil {
			where := []string{"-D", s.data, "--waldir", filepath.Join(s.dir, "wal")}
			if o.WALInData {
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

// Resume starts a server again that was halted or killed, or that has ended, with its data. It
// returns when the server answers.
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

// Ended reports whether the server has ended, by a call or by itself.
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

// Log returns the server's log so far.
func (s *Server) Log() string {
	if s.log == nil {
		return ""
	}
	text, _ := os.ReadFile(s.log.Name()) // the log is only for messages of tests
	return string(text)
}

// Halt ends the server without waiting for sessions (a fast shutdown).
func (s *Server) Halt() error { return s.end(syscall.SIGINT) }

// Kill kills the server and all its processes.
func (s *Server) Kill() error {
	if s.Ended() {
		return errors.New("kill PostgreSQL: the server does not run")
	}
	server := s.process.Process
	_ = server.Signal(syscall.SIGSTOP) // so that it starts no other process meanwhile
	// The processes lead process groups of their own, so killing the server's group is not enough.
	started := children(server.Pid)
	for _, pid := range append(started, server.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	<-s.ended
	s.process, s.killed = nil, true
	// A server does not start while a process of the last one still uses its shared memory.
	for deadline := time.Now().Add(10 * time.Second); slices.ContainsFunc(started, runs); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("kill PostgreSQL: one of its processes does not end")
		}
	}
	return nil
}

// children returns the processes that a process has started and that still run.
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

// runs reports whether a process exists and is not a zombie.
func runs(pid int) bool {
	state, _ := status(pid)
	return state != "" && state != "Z" && state != "X"
}

// status returns the state and the parent of a process from Linux, and nothing if there is no such
// process.
func status(pid int) (state, parent string) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	// The line is "pid (name) state ppid"; the name may contain any character.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return "", ""
	}
	return fields[0], fields[1]
}

// Standby starts a server that follows this one. From then on this one acknowledges a commit only
// when the standby has it.
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

// InSync waits until the standby has all data of this server. After a kill and a new start, this
// server shows commits that the standby does not have yet. If the standby were promoted then, they
// would be lost.
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

// Promote makes a standby accept writes.
func (s *Server) Promote() error {
	db, err := sql.Open("pgx", s.address("public"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(`SELECT pg_promote()`)
	return err
}

// Pid returns the id of the server's first process.
func (s *Server) Pid() int { return s.process.Process.Pid }

// Host returns where the server listens, host:port.
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
	_ = s.end(syscall.SIGQUIT) // an immediate shutdown, which the server reports as a failure
	if s.killed {
		// A killed server leaves its shared memory to the next one, which removes it when it ends.
		// This one ends at once, because its input is empty.
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
	_ = s.process.Process.Signal(how) // the process may have ended
	<-s.ended
	s.process = nil
	return s.failure
}

// programs returns the directory of PostgreSQL's server programs.
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
	return "", errors.New("PostgreSQL's programs (initdb, postgres) are not installed; scripts/setup.sh installs them, or says how")
}

// credential makes a server run as postgres or nobody if this process is root, and makes that user
// the owner of the directory.
func credential(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true} // so that an interrupt reaches the test and not the server
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
