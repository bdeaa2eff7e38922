package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// errDamaged is part of the errors of a damaged SQLite file.
var errDamaged = errors.New("the database is damaged")

// isDamage reports whether an error says that the SQLite file is damaged.
func isDamage(err error) bool {
	var e *sqlitedriver.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	return errors.Is(err, errDamaged)
}

// makePrivate makes the database's files readable by their owner only, whatever the directory
// and the umask allow. SQLite gives a new log the mode of the database.
func makePrivate(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, name := range []string{file, file + "-wal", file + "-shm"} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(name, 0o600)
		}
		if err != nil {
			return fmt.Errorf("make %s readable by its owner only: %w", name, err)
		}
	}
	return nil
}

// The header of an SQLite file (https://www.sqlite.org/fileformat.html, "The Database Header").
const (
	headerSize      = 100
	headerMagic     = "SQLite format 3\x00"
	pageSizeAt      = 16
	changesAt       = 24
	pagesAt         = 28
	pagesAreOfAt    = 92 // the value at changesAt when the number of pages was written
	smallestPage    = 512
	biggestPageCode = 1 // stands for 65,536
)

// checkHeader checks the header of an SQLite file, and that the file has the pages that the
// header counts. While there is a log, pages may be there instead. An empty file is new.
func checkHeader(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(f, header); err != nil || string(header[:len(headerMagic)]) != headerMagic {
		return damaged(file, "it does not begin as an SQLite file does")
	}
	size := int64(binary.BigEndian.Uint16(header[pageSizeAt:]))
	if size == biggestPageCode {
		size = 1 << 16
	}
	if size < smallestPage || size&(size-1) != 0 {
		return damaged(file, fmt.Sprintf("its header says that a page has %d bytes", size))
	}
	number := func(at int) uint32 { return binary.BigEndian.Uint32(header[at:]) }
	if log, err := os.Stat(file + "-wal"); err == nil && log.Size() > 0 || number(changesAt) != number(pagesAreOfAt) {
		return nil
	}
	if want := int64(number(pagesAt)) * size; info.Size() < want {
		return damaged(file, fmt.Sprintf("it has %d bytes, and its header counts pages of %d bytes", info.Size(), want))
	}
	return nil
}

func damaged(file, why string) error {
	return fmt.Errorf("%w: %s: %s; restore it from a backup, see docs/how-to/back-up.md", errDamaged, file, why)
}

// checkEnds reads the first and the last row of each table. It is cheap and finds most damage
// by what happens to whole files: a lost end, a half copy, pages of another time.
func checkEnds(ctx context.Context, db *sql.DB, file string) error {
	keys, err := list(ctx, db, func(rows *sql.Rows) (key [2]string, err error) {
		err = rows.Scan(&key[0], &key[1])
		return key, err
	}, `SELECT m.name, coalesce((SELECT group_concat('"' || name || '" DESC') FROM (SELECT name FROM pragma_table_info(m.name) WHERE pk > 0 ORDER BY pk)), 'rowid DESC')
FROM sqlite_master m WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\'`)
	for _, key := range keys {
		for _, order := range []string{strings.ReplaceAll(key[1], " DESC", ""), key[1]} {
			if err == nil {
				_, err = list(ctx, db, scanNothing, `SELECT * FROM "`+key[0]+`" ORDER BY `+order+` LIMIT 1`)
			}
		}
	}
	if isDamage(err) {
		return damaged(file, err.Error())
	}
	return err
}

func scanNothing(*sql.Rows) (none struct{}, err error) { return none, nil }

// Problems that Check returns at most.
const maxProblems = 100

// Check reads a whole embedded database in dir and returns what is wrong with it: damaged
// pages and indexes, and pending deliveries whose alerts or events are missing. It changes
// nothing. A service may use the database meanwhile.
func Check(ctx context.Context, dir string) (problems []string, err error) {
	file := filepath.Join(dir, databaseFile)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("there is no database to check: %w", err)
	}
	if err := checkHeader(file); err != nil {
		return []string{err.Error()}, nil
	}
	db, err := openReaders(file, 1)
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // it was only read
	conn, err := db.Conn(ctx)
	if isDamage(err) {
		return []string{err.Error()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", file, err)
	}
	defer conn.Close() //nolint:errcheck // it was only read
	for _, text := range []string{
		fmt.Sprintf(`PRAGMA integrity_check(%d)`, maxProblems),
		`SELECT 'the alert of the pending delivery ' || hex(q.id) || ' is missing' FROM queue q
WHERE NOT EXISTS (SELECT 1 FROM alerts a WHERE a.id = CAST(substr(q.id, 1, 15) || x'00' AS BLOB)) LIMIT 100`,
		`SELECT 'the event of the pending delivery ' || hex(q.id) || ' is missing' FROM queue q JOIN alerts a ON a.id = CAST(substr(q.id, 1, 15) || x'00' AS BLOB)
WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = a.event_id) LIMIT 100`,
	} {
		found, err := list(ctx, conn, scanText, text) // on a connection of its own a statement has all the time it needs
		for _, text := range found {
			if text != "ok" { // the answer of integrity_check to a sound file
				problems = append(problems, text)
			}
		}
		if isDamage(err) {
			return append(problems, err.Error()), nil
		}
		if err != nil {
			return problems, fmt.Errorf("check %s: %w", file, err)
		}
	}
	return problems, nil
}
