-- +goose Up

-- What a redelivery repeats, and when it was made: its id has the time when its
-- alert was raised. Deliveries made with their alert have no row here.
CREATE TABLE redeliveries (
    id        uuid   PRIMARY KEY,
    client_id uuid   NOT NULL,
    repeats   uuid   NOT NULL,
    made_at   bigint NOT NULL
);
CREATE INDEX redeliveries_by_client ON redeliveries (client_id, made_at, id);
CREATE INDEX redeliveries_by_repeated ON redeliveries (repeats, id);
