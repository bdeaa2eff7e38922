-- +goose Up

-- The alerts of a company or a type, in segments that are written once (history_alertindex.go).
-- Binaries that do not know the tables can go on.
CREATE TABLE alert_segments (
    id      BLOB NOT NULL,
    from_id BLOB NOT NULL, -- has the alerts from this id
    to_id   BLOB NOT NULL, -- to before this one
    PRIMARY KEY (to_id, id)
) WITHOUT ROWID;

CREATE TABLE alert_blocks (
    segment BLOB    NOT NULL,
    first   BLOB    NOT NULL, -- the smallest key in it
    keys    INTEGER NOT NULL, -- how many keys it has
    n       INTEGER NOT NULL, -- and how many alerts
    entries BLOB    NOT NULL,
    PRIMARY KEY (segment, first)
);

-- Alerts that were committed too late for their segment.
CREATE TABLE late_alerts (
    key BLOB NOT NULL,
    id  BLOB NOT NULL,
    PRIMARY KEY (key, id)
) WITHOUT ROWID;
CREATE INDEX late_alerts_by_id ON late_alerts (id);

-- One row: alerts with smaller ids are in segments or late.
CREATE TABLE alert_index (
    indexed_to BLOB NOT NULL
);
INSERT INTO alert_index (indexed_to) VALUES (zeroblob(16));
