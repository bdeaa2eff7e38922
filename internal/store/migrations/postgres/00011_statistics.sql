-- +goose Up

-- What transactions have recorded and statistics do not have yet (history_counting.go).
CREATE TABLE statistics_log (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- How many attempts were recorded and deliveries ended, by the hour (history_folding.go).
CREATE TABLE statistics (
    client_id            uuid   NOT NULL,
    hour                 bigint NOT NULL,
    receiver             text   NOT NULL, -- empty: all that are not among the busiest
    reason               text   NOT NULL, -- empty: success
    attempts_delivered   bigint NOT NULL,
    attempts_retry       bigint NOT NULL,
    attempts_rejected    bigint NOT NULL,
    attempts_unknown     bigint NOT NULL,
    deliveries_delivered bigint NOT NULL,
    deliveries_failed    bigint NOT NULL,
    deliveries_cancelled bigint NOT NULL,
    latency_0            bigint NOT NULL, -- attempts by how long they took: the buckets of herald.Latency
    latency_1            bigint NOT NULL,
    latency_2            bigint NOT NULL,
    latency_3            bigint NOT NULL,
    latency_4            bigint NOT NULL,
    latency_5            bigint NOT NULL,
    latency_6            bigint NOT NULL,
    latency_7            bigint NOT NULL,
    latency_8            bigint NOT NULL,
    latency_9            bigint NOT NULL,
    latency_10           bigint NOT NULL,
    latency_11           bigint NOT NULL,
    latency_12           bigint NOT NULL,
    last_success         bigint NOT NULL, -- 0: none
    last_failure         bigint NOT NULL, -- 0: none
    PRIMARY KEY (client_id, hour, receiver, reason)
) WITH (fillfactor = 70);
CREATE INDEX statistics_by_hour ON statistics (hour);
