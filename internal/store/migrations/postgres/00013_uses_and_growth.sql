-- +goose Up

-- When an API key was last used, cut to the minute; NULL: never, or not since this column is there
-- (account_keyuses.go).
ALTER TABLE keys ADD COLUMN used_at bigint;

-- How large the database was, once an hour at most (maintenance_growth.go).
CREATE TABLE database_sizes (
    hour  bigint PRIMARY KEY, -- in which it was measured
    at    bigint NOT NULL,
    bytes bigint NOT NULL
);
