-- +goose Up

-- The alerts of a company or a type, in segments that are written once (history_alertindex.go).
-- Binaries that do not know the tables can go on.
CREATE TABLE alert_segments (
    id      uuid NOT NULL,
    from_id uuid NOT NULL, -- has the alerts from this id
    to_id   uuid NOT NULL, -- to before this one
    PRIMARY KEY (to_id, id)
);

CREATE TABLE alert_blocks (
    segment uuid   NOT NULL,
    first   bytea  NOT NULL, -- the smallest key in it
    keys    bigint NOT NULL, -- how many keys it has
    n       bigint NOT NULL, -- and how many alerts
    entries bytea  NOT NULL,
    PRIMARY KEY (segment, first)
);
ALTER TABLE alert_blocks ALTER COLUMN entries SET STORAGE EXTERNAL; -- ids do not compress

-- Alerts that were committed too late for their segment.
CREATE TABLE late_alerts (
    key bytea NOT NULL,
    id  uuid  NOT NULL,
    PRIMARY KEY (key, id)
);
CREATE INDEX late_alerts_by_id ON late_alerts (id);

-- One row: alerts with smaller ids are in segments or late.
CREATE TABLE alert_index (
    indexed_to uuid NOT NULL
);
INSERT INTO alert_index (indexed_to) VALUES ('00000000-0000-0000-0000-000000000000');
