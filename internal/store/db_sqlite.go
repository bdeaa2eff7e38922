package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func sqliteDialect() dialect {
	return dialect{
		name:       "sqlite",
		gatherFor:  2 * time.Millisecond, // measured with one connection and two cores: p99 14 ms with it, 20 ms without
		classify:   classifySQLite,
		unanswered: func(error) bool { return false }, // no network between, so every error is an answer
		joinOfAlert: func(table, alias string) string {
			return `CROSS JOIN ` + table + ` ON ` + alias + `.id BETWEEN a.id AND CAST(substr(a.id, 1, 15) || x'ff' AS BLOB)`
		},
		alertOf:  sqliteAlertOf,
		contains: func(text, part string) string { return "instr(lower(" + text + "), " + part + ") > 0" },
		// Without statistics, SQLite would read all rules of the client.
		rulesByEvent: `rules INDEXED BY rules_by_event`,
		idList:       `SELECT unhex(value, '-') AS id FROM json_each(%s)`,
		withPrefix: func(id, zeros string, n int) string {
			return fmt.Sprintf(`%s BETWEEN %s AND CAST(substr(%[2]s, 1, %[3]d) || x'%[4]s' AS BLOB)`, id, zeros, n, strings.Repeat("ff", 16-n))
		},
		smallChange:   `UPDATE compatibility SET serves_from = serves_from`,
		limitLockWait: func(context.Context, *sql.Tx) error { return nil },
		begin:         sqliteBegin,
		pauseBatches:  func(context.Context, *sql.Tx) error { return nil }, // one transaction writes at a time
		claim:         sqliteClaim,
		readBodies:    sqliteReadBodies,
		readTogether:  sqliteReadTogether,
	}
}

func sqliteAlertOf(d string) string { return `CAST(substr(` + d + `, 1, 15) || x'00' AS BLOB)` }

func classifySQLite(err error) fault {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return faultStatement
	}
	switch e.Code() & 0xff { // the primary result code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return faultTransient
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return faultDatabase
	default:
		return faultStatement
	}
}

const (
	databaseFile = "herald.db"
	lockFile     = "herald.lock"
	// sqliteLists is how many reads of callers run at the same time, and
	// sqliteLookUps how many of publishing, sending and maintenance. Reads are
	// short, and more of them would only compete for the processors. Readiness has
	// a reader of its own.
	sqliteLists   = 4
	sqliteLookUps = 3
	// noIndexOnTheFly keeps SQLite from building a temporary index over millions
	// of rows for one statement, where a key of the table does as well.
	noIndexOnTheFly = "automatic_index(0)"
	// checkpointPages is how long SQLite's write-ahead log grows before the
	// writer copies it back: 40 MB (10,000 pages of 4 KiB), a compromise between
	// the log's size and the pause.
	checkpointPages = 10000
)

// openSQLite opens the database in dir, with one connection that writes and readers that
// read. Only the writing connection checkpoints: checkpoints by readers let the log grow
// without bound.
func (s *Store) openSQLite(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if err := s.lockDirectory(dir); err != nil {
		return err
	}
	file := filepath.Join(dir, databaseFile)
	if err := makePrivate(file); err != nil {
		return errors.Join(err, s.release())
	}
	if err := checkHeader(file); err != nil {
		return errors.Join(err, s.release())
	}
	var err error
	s.write, err = openWriter(sqliteDSN(file, url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)",
			fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
			"journal_size_limit(67108864)", "cache_size(-8192)", "temp_store(MEMORY)", noIndexOnTheFly,
		},
	}))
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	for pool, size := range map[**sql.DB]int{&s.read: sqliteLookUps, &s.lists: sqliteLists, &s.vital: 1} {
		if *pool, err = openReaders(file, size); err != nil {
			return err
		}
	}
	return nil
}

// openReaders returns a pool of connections that only read.
func openReaders(file string, size int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", sqliteDSN(file, url.Values{
		"_pragma": {"busy_timeout(5000)", "query_only(1)", "wal_autocheckpoint(0)", "cache_size(-4096)", "temp_store(MEMORY)", noIndexOnTheFly},
	}))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

func sqliteDSN(file string, options url.Values) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: options.Encode()}).String()
}

// lockDirectory locks the data directory against a second process: Register of the second
// would remove the node of the first, and both would send its deliveries. It locks a file for
// older versions, which know only that, and the directory, because the file can be deleted.
func (s *Store) lockDirectory(dir string) error {
	unlock, taken, err := lockItself(dir)
	if err != nil {
		return fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	if !taken {
		return inUse(dir)
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	if taken, err = lock.TryLock(); err != nil {
		return errors.Join(fmt.Errorf("lock the data directory %s: %w", dir, err), unlock())
	}
	if !taken {
		return errors.Join(inUse(dir), unlock())
	}
	s.release = func() error { return errors.Join(lock.Close(), unlock()) }
	return nil
}

func inUse(dir string) error {
	return fmt.Errorf("the data directory %s is in use by another process; stop that one, or choose another with --data", dir)
}
