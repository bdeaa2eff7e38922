-- +goose Up

-- How often something of a client was changed that prepared events do not depend on:
-- the Authorization header, whether a rule sends it, unsubscribed mailboxes.
ALTER TABLE clients ADD COLUMN settings_version INTEGER NOT NULL DEFAULT 0;
UPDATE compatibility SET serves_from = 1;
