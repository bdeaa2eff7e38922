package herald

import (
	"time"

	"github.com/google/uuid"
)

// Status is how the service is, for its operator. Figures that need the database are absent while it does
// not answer.
type Status struct {
	Attention     []string        `json:"attention" doc:"What needs attention, in words, the most urgent first; empty if nothing does."`
	Version       string          `json:"version"`
	At            time.Time       `json:"at" doc:"When this was so."`
	Nodes         int             `json:"nodes,omitempty" doc:"How many nodes are alive."`
	Backlog       *Backlog        `json:"backlog,omitempty"`
	Clients       []ClientBacklog `json:"clients" doc:"The clients with the most pending deliveries, among those that backlog counts; at most 100."`
	SlowReceivers []SlowReceiver  `json:"slowReceivers" doc:"The receivers with the most deliveries that wait, among those where one has waited for longer than a minute; at most five."`
	Database      *DatabaseStatus `json:"database,omitempty"`
	RetentionDays float64         `json:"retentionDays" doc:"How long history is kept, in days."`
	LastBackup    *time.Time      `json:"lastBackup,omitempty" doc:"When herald backup took the last backup of the embedded database, within the retention."`
	MailServer    string          `json:"mailServer,omitempty" doc:"The mail server; absent if none is configured."`
}

// Backlog is what is pending. The oldest MaxBacklog deliveries are counted at most.
type Backlog struct {
	Pending   int        `json:"pending" doc:"The sum of the three below."`
	Ready     int        `json:"ready" doc:"Due, and no node has taken them."`
	Waiting   int        `json:"waiting" doc:"Due later: they wait for a retry, a digest or a consent."`
	Held      int        `json:"held" doc:"A node has taken them: they are in flight or have their turn soon."`
	AtLeast   bool       `json:"atLeast,omitempty" doc:"There are more: only the oldest 20,000 were counted."`
	OldestDue *time.Time `json:"oldestDue,omitempty" doc:"Since when the delivery is due that is due the longest; absent if none is."`
}

// MaxBacklog is how many deliveries of a backlog are counted.
const MaxBacklog = 20_000

// ClientBacklog is what is pending of one client.
type ClientBacklog struct {
	ClientID  uuid.UUID  `json:"clientId"`
	Pending   int        `json:"pending"`
	OldestDue *time.Time `json:"oldestDue,omitempty" doc:"Since when the client's delivery is due that is due the longest; absent if none is."`
}

// MaxBacklogClients is how many clients a status lists with their backlog.
const MaxBacklogClients = 100

// SlowReceiver is a receiver where deliveries wait.
type SlowReceiver struct {
	ClientID uuid.UUID `json:"clientId"`
	Receiver string    `json:"receiver" doc:"The origin of the webhooks, or mailto: for all mailboxes of the client."`
	Waiting  int       `json:"waiting" doc:"How many deliveries are pending there."`
	Since    time.Time `json:"since" doc:"When the oldest of them was made."`
}

// DatabaseStatus is what is stored.
type DatabaseStatus struct {
	Kind  string `json:"kind" doc:"SQLite or PostgreSQL."`
	Bytes int64  `json:"bytes" doc:"Its size on disk, with its log on SQLite."`
	// Day and Week are nil while no size of that time is kept.
	Day  *Growth `json:"growthDay,omitempty" doc:"How it has grown in the last 24 hours; absent: not known yet."`
	Week *Growth `json:"growthWeek,omitempty" doc:"How it has grown in the last 7 days; absent: not known yet."`
}

// Growth is how much larger a database is than it was.
type Growth struct {
	Since time.Time `json:"since" doc:"When it had the size that is compared: the last one kept before that time, at most a quarter of it earlier."`
	Bytes int64     `json:"bytes" doc:"How much larger it is now; less than 0: smaller."`
}
