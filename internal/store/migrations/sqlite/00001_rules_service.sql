-- +goose Up

-- Ids are UUIDv7 in 16 bytes, times microseconds since the epoch. Tables that
-- take every event are led by the id, which rises with time; each has at most
-- two indexes led by the client, because those cost a quarter of the insert
-- rate each.

CREATE TABLE compatibility (
    serves_from INTEGER NOT NULL -- the newest migration that the oldest binary knows which can still use these tables
);
INSERT INTO compatibility (serves_from) VALUES (1);

CREATE TABLE clients (
    id         BLOB PRIMARY KEY,
    name       TEXT    NOT NULL,
    profile    BLOB    NOT NULL, -- JSON, without the name and the authorization
    auth       BLOB,             -- sealed; NULL: no Authorization header
    version    INTEGER NOT NULL,
    deleted_at INTEGER
) WITHOUT ROWID;

CREATE TABLE keys (
    hash       BLOB PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    client_id  BLOB    NOT NULL,
    role       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_by_client ON keys (client_id);

CREATE TABLE rules (
    client_id   BLOB    NOT NULL,
    id          BLOB    NOT NULL,
    type        TEXT    NOT NULL,
    posted_type TEXT    NOT NULL,
    company_id  BLOB,
    webhook     TEXT    NOT NULL,
    emails      TEXT    NOT NULL, -- JSON array, as posted
    send_auth   INTEGER NOT NULL,
    PRIMARY KEY (client_id, id)
) WITHOUT ROWID;

-- Mailboxes that want no mail of a client, in lower case.
CREATE TABLE unsubscribed (
    client_id BLOB    NOT NULL,
    address   TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (client_id, address)
) WITHOUT ROWID;

-- How many mails a mailbox has had of a client since the window began, and which
-- delivery carries the digest of the rest (queue_digests.go).
CREATE TABLE mail_windows (
    client_id BLOB    NOT NULL,
    address   TEXT    NOT NULL,
    began_at  INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    carrier   BLOB,
    PRIMARY KEY (client_id, address)
) WITHOUT ROWID;

-- Who changed what that is not an event's doing. The entry's id has its time.
CREATE TABLE audit (
    id        BLOB PRIMARY KEY,
    client_id BLOB,             -- NULL: it belongs to all
    action    TEXT  NOT NULL,
    subject   TEXT  NOT NULL,
    actor     TEXT  NOT NULL,
    key_id    BLOB,
    address   TEXT  NOT NULL,
    before    BLOB,             -- JSON, secrets masked
    after     BLOB
) WITHOUT ROWID;
CREATE INDEX audit_by_client ON audit (client_id, id);

CREATE TABLE event_types (
    name TEXT PRIMARY KEY,
    spec BLOB NOT NULL -- JSON
) WITHOUT ROWID;

-- One row a running node; the number is new at every start and never reused.
CREATE TABLE nodes (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    beat INTEGER NOT NULL
);

CREATE TABLE idempotency (
    client_id   BLOB    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    first_event BLOB    NOT NULL,
    n           INTEGER NOT NULL, -- alerts that the first event raised
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (client_id, key)
) WITHOUT ROWID;

CREATE TABLE events (
    id            BLOB PRIMARY KEY,
    client_id     BLOB    NOT NULL,
    type          TEXT    NOT NULL,
    company_id    BLOB,
    connection_id BLOB,
    occurred_at   INTEGER NOT NULL,
    message       TEXT    NOT NULL, -- the publisher's own; else empty
    data          BLOB
) WITHOUT ROWID;
CREATE INDEX events_by_client ON events (client_id, id);

CREATE TABLE alerts (
    id         BLOB PRIMARY KEY,
    client_id  BLOB NOT NULL,
    event_id   BLOB NOT NULL,
    rule_id    BLOB NOT NULL,
    type       TEXT NOT NULL, -- the event's
    company_id BLOB,
    message    TEXT NOT NULL,
    head       BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX alerts_by_client ON alerts (client_id, id);
CREATE INDEX alerts_by_rule ON alerts (client_id, rule_id, id);

-- What is pending, and only that: a delivery that ends moves to deliveries.
CREATE TABLE queue (
    id        BLOB PRIMARY KEY,
    client_id BLOB    NOT NULL,
    lane      TEXT    NOT NULL,
    address   TEXT    NOT NULL,
    made_at   INTEGER NOT NULL,
    due_at    INTEGER NOT NULL,
    node      INTEGER,          -- who holds it; NULL: it waits to be claimed
    attempt   INTEGER NOT NULL, -- the number of the attempt that is due
    retries   INTEGER NOT NULL  -- how many of the policy's retries are used up
) WITHOUT ROWID;
CREATE INDEX queue_waiting ON queue (client_id, lane, due_at) WHERE node IS NULL;

CREATE TABLE deliveries (
    id        BLOB PRIMARY KEY,
    client_id BLOB    NOT NULL,
    address   TEXT    NOT NULL,
    state     INTEGER NOT NULL,
    reason    TEXT    NOT NULL,
    done_at   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_not_made ON deliveries (client_id, id) WHERE state >= 2; -- failed or cancelled

CREATE TABLE attempts (
    delivery_id BLOB    NOT NULL,
    n           INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    error       TEXT    NOT NULL,
    timings     BLOB,
    request     BLOB,
    response    BLOB,
    PRIMARY KEY (delivery_id, n)
) WITHOUT ROWID;

-- How many alerts there are, by the hour they were raised in, for each rule, and
-- for all of a client's under the rule of zeros.
CREATE TABLE tallies (
    client_id BLOB    NOT NULL,
    rule_id   BLOB    NOT NULL,
    hour      INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    PRIMARY KEY (client_id, rule_id, hour)
) WITHOUT ROWID;
CREATE INDEX tallies_by_hour ON tallies (hour);

-- One row: how far history reaches, and how much of it the tallies count.
CREATE TABLE history (
    kept_from   BLOB    NOT NULL, -- what is older is not shown any more, and being deleted
    kept_hour   INTEGER NOT NULL, -- the same as a time
    tallied_to  BLOB    NOT NULL  -- alerts with smaller ids are in the tallies
);
INSERT INTO history (kept_from, kept_hour, tallied_to) VALUES (zeroblob(16), 0, zeroblob(16));
