package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func sqliteDialect() dialect {
	clock := newSteadyClock()
	return dialect{
		name:       "sqlite",
		gatherFor:  2 * time.Millisecond, // measured with one connection and two cores: p99 14 ms with it, 20 ms without
		classify:   classifySQLite,
		unanswered: func(error) bool { return false }, // no network between, so every error is an answer
		joinOfAlert: func(table, alias string) string {
			return `CROSS JOIN ` + table + ` ON ` + alias + `.id BETWEEN a.id AND CAST(substr(a.id, 1, 15) || x'ff' AS BLOB)`
		},
		alertOf:      func(d string) string { return `CAST(substr(` + d + `, 1, 15) || x'00' AS BLOB)` },
		lastOf:       func(d string) string { return `CAST(substr(` + d + `, 1, 15) || x'ff' AS BLOB)` },
		now:          func(context.Context, querier) (int64, error) { return clock.now(), nil },
		begin:        sqliteBegin,
		pauseBatches: func(context.Context, *sql.Tx) error { return nil }, // one transaction writes at a time
		claim:        sqliteClaim,
		readBodies:   sqliteReadBodies,
	}
}

func classifySQLite(err error) fault {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return faultStatement
	}
	switch e.Code() & 0xff { // the primary result code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return faultTransient
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return faultDatabase
	default:
		return faultStatement
	}
}

const (
	databaseFile = "herald.db"
	lockFile     = "herald.lock"
	// readers is how many reads run at the same time. Reads are short, and more of
	// them would only compete for the processors.
	readers = 4
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
	var err error
	s.write, err = sql.Open("sqlite", sqliteDSN(file, url.Values{
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
	s.write.SetMaxOpenConns(1)
	s.read, err = sql.Open("sqlite", sqliteDSN(file, url.Values{
		"_pragma": {"busy_timeout(5000)", "query_only(1)", "wal_autocheckpoint(0)", "cache_size(-8192)", "temp_store(MEMORY)", noIndexOnTheFly},
	}))
	if err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	return nil
}

func sqliteDSN(file string, options url.Values) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: options.Encode()}).String()
}

// lockDirectory locks the data directory against a second process: Register of the second
// would remove the node of the first, and both would send its deliveries.
func (s *Store) lockDirectory(dir string) error {
	lock := flock.New(filepath.Join(dir, lockFile))
	taken, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	if !taken {
		return fmt.Errorf("the data directory %s is in use by another process; stop that one, or choose another with --data", dir)
	}
	s.release = lock.Close
	return nil
}
