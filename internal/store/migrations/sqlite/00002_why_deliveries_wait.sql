-- +goose Up

-- Why a pending delivery could not be attempted; NULL: it waits for its turn or for a retry. A
-- claim clears it. Binaries that do not know the column can go on.
ALTER TABLE queue ADD COLUMN reason TEXT;
