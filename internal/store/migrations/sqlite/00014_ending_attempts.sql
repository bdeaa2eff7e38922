-- +goose Up

-- The attempt that ended a delivery is stored with the delivery, and not in attempts. NULL: none
-- did, or an older version recorded it. Nodes of the version before can go on. They show such a
-- delivery without this attempt, and other attempts without their details.
ALTER TABLE deliveries ADD COLUMN attempt INTEGER; -- its number
ALTER TABLE deliveries ADD COLUMN last_status INTEGER;
ALTER TABLE deliveries ADD COLUMN last_reason TEXT;
ALTER TABLE deliveries ADD COLUMN record BLOB; -- the rest, see commit_record.go

-- What error, timings, request and response have in rows of older versions.
ALTER TABLE attempts ADD COLUMN record BLOB;
