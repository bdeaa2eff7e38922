-- +goose Up

-- A text sealed with the secret key, by which a start learns that its key file is the right one
-- before anything is sealed with another. At most one row.
CREATE TABLE secret_check (
    id     SMALLINT PRIMARY KEY CHECK (id = 1),
    sealed BYTEA    NOT NULL
);
