-- +goose Up

-- The attempt that ended a delivery is stored with the delivery, and not in attempts. NULL: none
-- did, or an older version recorded it. Nodes of the version before can go on. They show such a
-- delivery without this attempt, and other attempts without their details.
ALTER TABLE deliveries
    ADD COLUMN attempt bigint, -- its number
    ADD COLUMN last_status bigint,
    ADD COLUMN last_reason text,
    ADD COLUMN record bytea; -- the rest, see commit_record.go

-- What error, timings, request and response have in rows of older versions.
ALTER TABLE attempts ADD COLUMN record bytea;
