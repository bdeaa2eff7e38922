package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"herald/internal/work"
)

// dialect holds the differences between the two databases. A statement that both accept is
// not here but beside its caller.
type dialect struct {
	// name is the name of the directory of migrations.
	name string
	// shared says that several nodes may use the database. The embedded one
	// belongs to one process: its directory is locked.
	shared bool
	// classify returns the kind of fault that an error of the driver is.
	classify func(error) fault
	// unanswered reports whether the outcome of a commit is unknown after an error.
	unanswered func(error) bool
	// gatherFor is how long the writer waits for more requests before a batch.
	gatherFor time.Duration
	// planMode, as a statement's first argument on PostgreSQL, lets the statement
	// keep its plan. See withCachedPlan.
	planMode pgx.QueryExecMode
	// alertOf returns an SQL expression for the alert's id in a delivery's id.
	alertOf func(delivery string) string
	// withPrefix returns an SQL condition: an id has the same first n bytes as another,
	// which ends in zeros. It is a range of the key.
	withPrefix func(id, zeros string, n int) string
	// contains returns an SQL condition: a text has a part, which is in lower case. Only ASCII letters of
	// the text are compared in any case.
	contains func(text, part string) string
	// idList is a SELECT of the ids in a parameter %s, which is a JSON array of their texts.
	idList string
	// rulesByEvent is the table of rules, read by the index of that name.
	rulesByEvent string
	// joinOfAlert returns the text that joins a table of deliveries to the alerts
	// a. The database reads the alerts first and finds the deliveries of each by
	// their ids.
	joinOfAlert func(table, alias string) string
	// forUpdate and forShare end a SELECT and lock its rows: forShare against
	// changes, forUpdate also against other locks. Both are empty on SQLite,
	// where one transaction writes at a time.
	forUpdate, forShare string

	// clockSQL is an expression for the database's time in microseconds, where nodes
	// share the database: their own clocks differ. It is empty on SQLite.
	clockSQL string
	// openSQL opens the writer's transaction on PostgreSQL, see postgresOpenSQL.
	openSQL string
	// smallChange changes a row that does not matter, to see whether a commit works.
	smallChange string
	// begin begins the writer's transaction, which never runs at the same time as
	// one that has called pauseBatches. node is to hold deliveries. It returns the preconditions that
	// ask asks for. Other transactions cannot change the clients' versions until this one ends.
	begin func(ctx context.Context, s *Store, node int64, ask questions) (batchTx, preconditions, error)
	// pauseBatches waits for the batches being written and lets no other begin
	// until the transaction ends.
	pauseBatches func(ctx context.Context, tx *sql.Tx) error
	// limitLockWait makes the statements of a transaction wait 50 ms at most for a
	// lock, and fail then.
	limitLockWait func(ctx context.Context, tx *sql.Tx) error
	// claim lets a node hold due deliveries: of each lane the longest due first,
	// without those that are due before the lane's floor.
	claim func(ctx context.Context, tx *sql.Tx, node int64, claims []work.Claim, floors []int64, now int64) ([]claimedRow, error)
	// readBodies sets the RuleID, the Head and the Data of items. It returns the ids of
	// the items whose alert or event is missing.
	readBodies func(ctx context.Context, s *Store, items []work.Item) (missing map[uuid.UUID]bool, err error)
	// readTogether reads one state of the database.
	readTogether func(ctx context.Context, s *Store, readings []reading) error
}

// batchTx is the writer's transaction, after its begin.
type batchTx interface {
	// commit writes a batch and commits. It sets refused of results whose
	// deliveries this node does not hold any more. After an error nothing was
	// written, unless the error is a lostAnswer.
	commit(ctx context.Context, b *batch) error
}

// questions are what a batch has to know before it is written.
type questions struct {
	clients []uuid.UUID // of its events
	keys    []idempotencyKey
	issues  issueChanges // what its results change
}

// preconditions are the contents of the database that decide which requests of a batch can
// be written.
type preconditions struct {
	now       int64                       // the result of Store.now
	cautious  int64                       // the time that idempotency keys expire by, see clock.Clock
	versions  map[uuid.UUID]int64         // of the clients; 0 or missing for a client that does not exist
	used      map[idempotencyKey]firstUse // of the keys, those that have been used
	talliedTo uuid.UUID                   // the batch itself adds alerts with smaller ids to their tallies
	open      openIssues                  // of the receivers in the results, on PostgreSQL
	// registered says that the node is one: another node may have declared it dead.
	registered bool
}

// fault is a kind of failure of the database.
type fault int

const (
	faultStatement fault = iota // this statement is wrong; others may succeed
	faultTransient              // the same transaction may succeed if run again at once
	faultDatabase               // nothing succeeds right now: the disk is full, the server is away
)
