-- +goose Up

-- Which rules have changed at the client's last 1,000 revisions, so that a node reads no others
-- (account_state.go). Triggers write both tables: then nobody can forget it, and binaries of before, which
-- can go on, do it too.
CREATE TABLE rule_changes (
    client_id uuid    NOT NULL,
    revision  bigint  NOT NULL, -- of the client, after the change
    rule_id   uuid    NOT NULL,
    PRIMARY KEY (client_id, revision, rule_id)
);

-- How many rules a client has, and the bytes of their texts. A client without a row has none.
CREATE TABLE rule_totals (
    client_id uuid    PRIMARY KEY,
    rules     bigint  NOT NULL,
    bytes     bigint  NOT NULL
);

-- The statements find single rows by their keys. Their plans are kept while the tables grow, so no plan may read a
-- whole table.
-- +goose StatementBegin
CREATE FUNCTION note_rules(client uuid, n bigint, added_bytes bigint, ids uuid[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
    present bigint;
BEGIN
    SELECT version + settings_version INTO present FROM clients WHERE id = client AND deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO rule_totals AS t (client_id, rules, bytes) VALUES (client, n, added_bytes)
    ON CONFLICT (client_id) DO UPDATE SET rules = t.rules + excluded.rules, bytes = t.bytes + excluded.bytes;
    INSERT INTO rule_changes (client_id, revision, rule_id) SELECT client, present, unnest(ids) ON CONFLICT DO NOTHING;
    DELETE FROM rule_changes WHERE client_id = client AND revision <= present - 1000;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION note_rule_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM note_rules(client_id, sum(n), sum(n * (octet_length(posted_type) + octet_length(webhook) + octet_length(emails))), array_agg(DISTINCT id))
        FROM (SELECT 1 AS n, added.* FROM added) r GROUP BY client_id;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM note_rules(client_id, sum(n), sum(n * (octet_length(posted_type) + octet_length(webhook) + octet_length(emails))), array_agg(DISTINCT id))
        FROM (SELECT 1 AS n, added.* FROM added UNION ALL SELECT -1, removed.* FROM removed) r GROUP BY client_id;
    ELSE
        PERFORM note_rules(client_id, sum(n), sum(n * (octet_length(posted_type) + octet_length(webhook) + octet_length(emails))), array_agg(DISTINCT id))
        FROM (SELECT -1 AS n, removed.* FROM removed) r GROUP BY client_id;
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER rules_added AFTER INSERT ON rules
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_rule_changes();
CREATE TRIGGER rules_changed AFTER UPDATE ON rules
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_rule_changes();
CREATE TRIGGER rules_deleted AFTER DELETE ON rules
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION note_rule_changes();

-- The triggers have locked the table rules against changes, so no rule is left out. Publishing goes on.
INSERT INTO rule_totals (client_id, rules, bytes)
SELECT client_id, count(*), sum(octet_length(posted_type) + octet_length(webhook) + octet_length(emails))
FROM rules WHERE client_id IN (SELECT id FROM clients WHERE deleted_at IS NULL) GROUP BY client_id;
