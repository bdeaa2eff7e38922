-- +goose Up

-- Finds the rules that an event meets, where a node does not hold all rules of the client in memory.
CREATE INDEX rules_by_event ON rules (client_id, type, company_id);
