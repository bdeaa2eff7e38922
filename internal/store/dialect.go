package store

import (
	"errors"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect holds where the databases truly differ. Statements that both take
// as they are stand beside their callers.
type dialect struct {
	// name is goose's name of the dialect and the migrations' directory.
	name string
	// classify says what kind of failure an error of the driver is.
	classify func(error) fault
	// lastDelivery is an expression for the largest id that a delivery of the
	// alert a.id can have.
	lastDelivery string
}

// fault is a kind of failure of the database.
type fault int

const (
	faultStatement fault = iota // this statement is at fault; others may pass
	faultPassing                // the same transaction may pass if run again
	faultDatabase               // nothing passes right now: disk full, gone
)

var sqlite = dialect{
	name:         "sqlite",
	classify:     classifySQLite,
	lastDelivery: `CAST(substr(a.id, 1, 15) || x'ff' AS BLOB)`,
}

func classifySQLite(err error) fault {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return faultStatement
	}
	switch e.Code() & 0xff { // the primary code; the rest tells more of it
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return faultPassing
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
		return faultDatabase
	default:
		return faultStatement
	}
}
