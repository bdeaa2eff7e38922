-- +goose Up

-- What a redelivery repeats, and when it was made: its id has the time when its
-- alert was raised. Deliveries made with their alert have no row here.
CREATE TABLE redeliveries (
    id        BLOB PRIMARY KEY,
    client_id BLOB    NOT NULL,
    repeats   BLOB    NOT NULL,
    made_at   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX redeliveries_by_client ON redeliveries (client_id, made_at, id);
CREATE INDEX redeliveries_by_repeated ON redeliveries (repeats, id);
