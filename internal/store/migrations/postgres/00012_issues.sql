-- +goose Up

-- Failing deliveries of one receiver with one reason (commit_issues.go). A row with one failing attempt
-- is no issue yet.
CREATE TABLE issues (
    id            uuid     PRIMARY KEY,
    client_id     uuid     NOT NULL,
    receiver_key  bytea    NOT NULL, -- SHA-256 of notification and receiver
    receiver      text     NOT NULL, -- '': the receivers over the bound
    notification  boolean  NOT NULL, -- the deliveries are those of Herald's own events about receivers
    reason        text     NOT NULL,
    began_at      bigint   NOT NULL,
    last_at       bigint   NOT NULL,
    ended_at      bigint,
    attempts      bigint   NOT NULL, -- that failed
    failed        bigint   NOT NULL, -- deliveries that failed for good
    made_from     bigint   NOT NULL, -- when the oldest of the deliveries was made
    last_delivery uuid     NOT NULL,
    last_status   bigint   NOT NULL,
    told          smallint NOT NULL DEFAULT 0, -- see account_notifications.go
    acked_at      bigint,
    acked_by      text     NOT NULL DEFAULT '',
    acked_key     uuid,
    note          text     NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX issues_open ON issues (client_id, receiver_key, reason) WHERE ended_at IS NULL;
CREATE INDEX issues_by_client ON issues (client_id, id) WHERE ended_at IS NOT NULL;
CREATE INDEX issues_ended ON issues (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX issues_to_tell ON issues (told, id) WHERE told IN (1, 2);

-- When a client is told that a receiver fails. Its rules of those types say where.
CREATE TABLE notifications (
    client_id        uuid   PRIMARY KEY,
    after_minutes    bigint NOT NULL, -- 0: not by time
    after_deliveries bigint NOT NULL  -- 0: not by number
);
