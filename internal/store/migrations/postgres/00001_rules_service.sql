-- +goose Up

-- The same tables as on SQLite. Ids are UUIDv7, times microseconds since the
-- epoch. queue is small and changes; it is vacuumed early and often. History is
-- partitioned by weeks of the UUIDv7 key; the service makes the partitions ahead
-- and drops them when retention is over (maintenance_partitions.go).

CREATE TABLE compatibility (
    serves_from bigint NOT NULL -- the newest migration that the oldest binary knows which can still use these tables
);
INSERT INTO compatibility (serves_from) VALUES (1);

CREATE TABLE clients (
    id         uuid   PRIMARY KEY,
    name       text   NOT NULL,
    profile    bytea  NOT NULL, -- JSON, without the name and the authorization
    auth       bytea,           -- sealed; NULL: no Authorization header
    version    bigint NOT NULL,
    deleted_at bigint
);

CREATE TABLE keys (
    hash       bytea  PRIMARY KEY,
    id         uuid   NOT NULL UNIQUE,
    client_id  uuid   NOT NULL,
    role       text   NOT NULL,
    name       text   NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX keys_by_client ON keys (client_id);

CREATE TABLE rules (
    client_id   uuid    NOT NULL,
    id          uuid    NOT NULL,
    type        text    NOT NULL,
    posted_type text    NOT NULL,
    company_id  uuid,
    webhook     text    NOT NULL,
    emails      text    NOT NULL, -- JSON array, as posted
    send_auth   boolean NOT NULL,
    PRIMARY KEY (client_id, id)
);

-- Mailboxes that want no mail of a client, in lower case.
CREATE TABLE unsubscribed (
    client_id uuid   NOT NULL,
    address   text   NOT NULL,
    at        bigint NOT NULL,
    PRIMARY KEY (client_id, address)
);

-- How many mails a mailbox has had of a client since the window began, and which
-- delivery carries the digest of the rest (queue_digests.go).
CREATE TABLE mail_windows (
    client_id uuid   NOT NULL,
    address   text   NOT NULL,
    began_at  bigint NOT NULL,
    n         bigint NOT NULL,
    carrier   uuid,
    PRIMARY KEY (client_id, address)
);

-- Who changed what that is not an event's doing. The entry's id has its time.
CREATE TABLE audit (
    id        uuid  PRIMARY KEY,
    client_id uuid ,             -- NULL: it belongs to all
    action    text  NOT NULL,
    subject   text  NOT NULL,
    actor     text  NOT NULL,
    key_id    uuid ,
    address   text  NOT NULL,
    before    bytea,             -- JSON, secrets masked
    after     bytea
);
CREATE INDEX audit_by_client ON audit (client_id, id);

CREATE TABLE event_types (
    name text  PRIMARY KEY,
    spec bytea NOT NULL -- JSON
);

-- One row a running node; the number is new at every start and never reused.
CREATE TABLE nodes (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    beat bigint NOT NULL
);

CREATE TABLE idempotency (
    client_id   uuid   NOT NULL,
    key         text   NOT NULL,
    fingerprint bytea  NOT NULL,
    first_event uuid   NOT NULL,
    n           bigint NOT NULL, -- alerts that the first event raised
    expires_at  bigint NOT NULL,
    PRIMARY KEY (client_id, key)
);

CREATE TABLE events (
    id            uuid   PRIMARY KEY,
    client_id     uuid   NOT NULL,
    type          text   NOT NULL,
    company_id    uuid,
    connection_id uuid,
    occurred_at   bigint NOT NULL,
    message       text   NOT NULL, -- the publisher's own; else empty
    data          bytea
) PARTITION BY RANGE (id);
CREATE INDEX events_by_client ON events (client_id, id);

CREATE TABLE alerts (
    id         uuid  PRIMARY KEY,
    client_id  uuid  NOT NULL,
    event_id   uuid  NOT NULL,
    rule_id    uuid  NOT NULL,
    type       text  NOT NULL, -- the event's
    company_id uuid,
    message    text  NOT NULL,
    head       bytea NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX alerts_by_client ON alerts (client_id, id);
CREATE INDEX alerts_by_rule ON alerts (client_id, rule_id, id);

-- What is pending, and only that: a delivery that ends moves to deliveries.
CREATE TABLE queue (
    id        uuid   PRIMARY KEY,
    client_id uuid   NOT NULL,
    lane      text   NOT NULL,
    address   text   NOT NULL,
    made_at   bigint NOT NULL,
    due_at    bigint NOT NULL,
    node      bigint,          -- who holds it; NULL: it waits to be claimed
    attempt   bigint NOT NULL, -- the number of the attempt that is due
    retries   bigint NOT NULL  -- how many of the policy's retries are used up
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_waiting ON queue (client_id, lane, due_at) WHERE node IS NULL;

CREATE TABLE deliveries (
    id        uuid   PRIMARY KEY,
    client_id uuid   NOT NULL,
    address   text   NOT NULL,
    state     bigint NOT NULL,
    reason    text   NOT NULL,
    done_at   bigint NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX deliveries_not_made ON deliveries (client_id, id) WHERE state >= 2; -- failed or cancelled

CREATE TABLE attempts (
    delivery_id uuid   NOT NULL,
    n           bigint NOT NULL,
    at          bigint NOT NULL,
    outcome     text   NOT NULL,
    status      bigint NOT NULL,
    reason      text   NOT NULL,
    error       text   NOT NULL,
    timings     bytea,
    request     bytea,
    response    bytea,
    PRIMARY KEY (delivery_id, n)
) PARTITION BY RANGE (delivery_id);

-- How many alerts there are, by the hour they were raised in, for each rule, and
-- for all of a client's under the rule of zeros.
CREATE TABLE tallies (
    client_id uuid   NOT NULL,
    rule_id   uuid   NOT NULL,
    hour      bigint NOT NULL,
    n         bigint NOT NULL,
    PRIMARY KEY (client_id, rule_id, hour)
) WITH (fillfactor = 70);
CREATE INDEX tallies_by_hour ON tallies (hour);

-- One row: how far history reaches, and how much of it the tallies count.
CREATE TABLE history (
    kept_from   uuid   NOT NULL, -- what is older is not shown any more, and being deleted
    kept_hour   bigint NOT NULL, -- the same as a time
    tallied_to  uuid   NOT NULL  -- alerts with smaller ids are in the tallies
);
INSERT INTO history (kept_from, kept_hour, tallied_to)
VALUES ('00000000-0000-0000-0000-000000000000', 0, '00000000-0000-0000-0000-000000000000');
