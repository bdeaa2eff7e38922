// Package pgtest gives tests a PostgreSQL server of their own: real, temporary,
// one a test process, with a schema a test.
package pgtest

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Server is a running PostgreSQL server.
type Server struct {
	dir     string
	port    int
	process *exec.Cmd
	log     *os.File
	schemas atomic.Int64
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
func Start() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if s.dir, err = os.MkdirTemp("", "herald-pg-"); err != nil {
		return nil, err
	}
	s.log, err = os.Create(filepath.Join(s.dir, "log"))
	if err == nil {
		s.port, err = freePort()
	}
	if err == nil {
		err = s.start(bin)
	}
	if err != nil {
		said, _ := os.ReadFile(filepath.Join(s.dir, "log")) // it is only to help
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w: %s", err, said), s.Stop())
	}
	return s, nil
}

func (s *Server) start(bin string) error {
	who, err := credential(s.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "herald", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	initdb.SysProcAttr, initdb.Dir, initdb.Stdout, initdb.Stderr = who, s.dir, s.log, s.log
	if err := initdb.Run(); err != nil {
		return err
	}
	s.process = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port), "-k", s.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "shared_buffers=128MB")
	s.process.SysProcAttr, s.process.Dir, s.process.Stdout, s.process.Stderr = who, s.dir, s.log, s.log
	if err := s.process.Start(); err != nil {
		return err
	}
	return s.ready()
}

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
	}
}

// Stop ends the server at once and removes its directory.
func (s *Server) Stop() error {
	if s.process != nil && s.process.Process != nil {
		_ = s.process.Process.Signal(syscall.SIGQUIT) // immediate shutdown
		_ = s.process.Wait()                          // which it reports as a failure
	}
	if s.log != nil {
		s.log.Close()
	}
	return os.RemoveAll(s.dir)
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
