-- +goose Up

-- An issue also ends when its receiver is not used any more (maintenance_issues.go). Nodes of the version
-- before can go on: they end none so.
ALTER TABLE issues ADD COLUMN unused boolean NOT NULL DEFAULT false;
