package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"herald/internal/work"
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
	// gatherFor is how long works that come in quickly gather before a batch.
	gatherFor time.Duration
	// hot, as a statement's first argument on PostgreSQL, lets it keep its plan.
	hot pgx.QueryExecMode
	// alertOf is an expression for the alert's id in a delivery's id.
	alertOf func(delivery string) string
	// joinOfAlert joins a table of deliveries to the alerts a: those of each
	// alert, found by their ids, and not the other way round.
	joinOfAlert func(table, alias string) string
	// forUpdate and forShare lock the rows that a SELECT finds, where that is
	// needed, against other changes or against every other transaction that
	// locks them.
	forUpdate, forShare string

	// now returns the time in microseconds: the database's where nodes share
	// it, because their clocks differ.
	now func(ctx context.Context, q querier) (int64, error)
	// begin begins the writer's transaction, which it keeps from running beside
	// keepTallying. It returns what entries of these clients and with these keys
	// are checked against, and keeps it from being changed until the transaction
	// ends.
	begin func(ctx context.Context, s *Store, clients []uuid.UUID, keys []idempotent) (batchTx, preconditions, error)
	// keepTallying keeps batches from being written until the transaction ends.
	pauseBatches func(ctx context.Context, tx *sql.Tx) error
	// claim lets a node hold due deliveries, of each lane the longest due from
	// its floor on.
	claim func(ctx context.Context, tx *sql.Tx, node int64, claims []work.Claim, floors []int64, now int64) ([]claimedRow, error)
	// readBodies fills in what is to be sent.
	readBodies func(ctx context.Context, s *Store, due []work.Item) error
}

// batchTx is the writer's transaction, which has begun.
type batchTx interface {
	// commit writes a batch, sets refused of works whose delivery is not held
	// any more, and commits. After an error nothing was written, unless that is
	// a lostAnswer.
	commit(ctx context.Context, b *batch) error
}

// standing is what a batch finds in the database that its entries depend on.
type preconditions struct {
	now       int64                   // microseconds, by the database's clock where it has one
	versions  map[uuid.UUID]int64     // of the clients; one that there is not has 0
	used      map[idempotent]firstUse // of the keys, those in use
	talliedTo uuid.UUID               // alerts with smaller ids count themselves
}

// fault is a kind of failure of the database.
type fault int

const (
	faultStatement fault = iota // this statement is at fault; others may pass
	faultPassing                // the same transaction may pass if run again
	faultDatabase               // nothing passes right now: disk full, gone
)
