-- +goose Up

-- The latest time that history has expired by. A clock that is far ahead of it
-- has to last for a day before anything is deleted by it (db_clock.go).
ALTER TABLE history ADD COLUMN trusted_at bigint NOT NULL DEFAULT 0;
