-- +goose Up

-- What transactions have recorded and statistics do not have yet (history_counting.go).
CREATE TABLE statistics_log (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

-- How many attempts were recorded and deliveries ended, by the hour (history_folding.go).
CREATE TABLE statistics (
    client_id            BLOB    NOT NULL,
    hour                 INTEGER NOT NULL,
    receiver             TEXT    NOT NULL, -- empty: all that are not among the busiest
    reason               TEXT    NOT NULL, -- empty: success
    attempts_delivered   INTEGER NOT NULL,
    attempts_retry       INTEGER NOT NULL,
    attempts_rejected    INTEGER NOT NULL,
    attempts_unknown     INTEGER NOT NULL,
    deliveries_delivered INTEGER NOT NULL,
    deliveries_failed    INTEGER NOT NULL,
    deliveries_cancelled INTEGER NOT NULL,
    latency_0            INTEGER NOT NULL, -- attempts by how long they took: the buckets of herald.Latency
    latency_1            INTEGER NOT NULL,
    latency_2            INTEGER NOT NULL,
    latency_3            INTEGER NOT NULL,
    latency_4            INTEGER NOT NULL,
    latency_5            INTEGER NOT NULL,
    latency_6            INTEGER NOT NULL,
    latency_7            INTEGER NOT NULL,
    latency_8            INTEGER NOT NULL,
    latency_9            INTEGER NOT NULL,
    latency_10           INTEGER NOT NULL,
    latency_11           INTEGER NOT NULL,
    latency_12           INTEGER NOT NULL,
    last_success         INTEGER NOT NULL, -- 0: none
    last_failure         INTEGER NOT NULL, -- 0: none
    PRIMARY KEY (client_id, hour, receiver, reason)
) WITHOUT ROWID;
CREATE INDEX statistics_by_hour ON statistics (hour);
