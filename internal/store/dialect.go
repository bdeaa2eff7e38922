package store

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
)

// dialect holds where the databases truly differ. Statements that both take
// as they are stand beside their callers.
type dialect struct {
	// name is the migrations' directory.
	name string
	// shared says that other nodes may use the database beside this one. An
	// embedded one belongs to this process, by its directory's lock.
	shared bool
	// classify says what kind of failure an error of the driver is.
	classify func(error) fault
	// unanswered says whether an error of a commit leaves open if it took place.
	unanswered func(error) bool
	// lastDelivery is an expression for the largest id that a delivery of the
	// alert a.id can have.
	lastDelivery string
	// forUpdate locks the rows that a SELECT finds, where that is needed.
	forUpdate string
	// skipLocked lets a claim pass over rows that another is taking.
	skipLocked string

	// now returns the time in microseconds: the database's where nodes share
	// it, because their clocks differ.
	now func(ctx context.Context, q querier) (int64, error)
	// versions returns clients' present versions and keeps them from being
	// changed until the transaction ends; a client that there is not has 0.
	versions func(ctx context.Context, s *Store, tx *sql.Tx, clients []uuid.UUID) (map[uuid.UUID]int64, error)
	// findKeys returns what idempotency keys stand for that are in use.
	findKeys func(ctx context.Context, s *Store, tx *sql.Tx, keys []idempotent, now int64) (map[idempotent]firstUse, error)
	// write writes a batch and sets refused of works whose delivery is not
	// held any more.
	write func(ctx context.Context, s *Store, tx *sql.Tx, b *batch) error
}

// fault is a kind of failure of the database.
type fault int

const (
	faultStatement fault = iota // this statement is at fault; others may pass
	faultPassing                // the same transaction may pass if run again
	faultDatabase               // nothing passes right now: disk full, gone
)
