-- +goose Up

-- The marks of commits: how a node that lost the answer to a COMMIT finds out
-- whether it took place (commit_lostanswer.go). Rows live ten minutes.
CREATE TABLE commits (
    id         UUID PRIMARY KEY,
    took_place BOOLEAN NOT NULL, -- false: the node asked first, and the commit can take place no more
    at         BIGINT  NOT NULL
);
