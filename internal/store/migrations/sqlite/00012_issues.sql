-- +goose Up

-- Failing deliveries of one receiver with one reason (commit_issues.go). A row with one failing attempt
-- is no issue yet.
CREATE TABLE issues (
    id            BLOB     PRIMARY KEY,
    client_id     BLOB     NOT NULL,
    receiver_key  BLOB     NOT NULL, -- SHA-256 of notification and receiver
    receiver      TEXT     NOT NULL, -- '': the receivers over the bound
    notification  INTEGER  NOT NULL, -- the deliveries are those of Herald's own events about receivers
    reason        TEXT     NOT NULL,
    began_at      INTEGER  NOT NULL,
    last_at       INTEGER  NOT NULL,
    ended_at      INTEGER,
    attempts      INTEGER  NOT NULL, -- that failed
    failed        INTEGER  NOT NULL, -- deliveries that failed for good
    made_from     INTEGER  NOT NULL, -- when the oldest of the deliveries was made
    last_delivery BLOB     NOT NULL,
    last_status   INTEGER  NOT NULL,
    told          INTEGER NOT NULL DEFAULT 0, -- see account_notifications.go
    acked_at      INTEGER,
    acked_by      TEXT     NOT NULL DEFAULT '',
    acked_key     BLOB,
    note          TEXT     NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE UNIQUE INDEX issues_open ON issues (client_id, receiver_key, reason) WHERE ended_at IS NULL;
CREATE INDEX issues_by_client ON issues (client_id, id) WHERE ended_at IS NOT NULL;
CREATE INDEX issues_ended ON issues (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX issues_to_tell ON issues (told, id) WHERE told IN (1, 2);

-- When a client is told that a receiver fails. Its rules of those types say where.
CREATE TABLE notifications (
    client_id        BLOB   PRIMARY KEY,
    after_minutes    INTEGER NOT NULL, -- 0: not by time
    after_deliveries INTEGER NOT NULL  -- 0: not by number
) WITHOUT ROWID;
