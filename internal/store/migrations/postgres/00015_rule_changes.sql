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

-- +goose StatementBegin
CREATE FUNCTION note_rule_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO rule_totals AS t (client_id, rules, bytes)
        SELECT c.id, sum(r.n), sum(r.n * (octet_length(r.posted_type) + octet_length(r.webhook) + octet_length(r.emails)))
        FROM (SELECT 1 AS n, added.* FROM added) r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL GROUP BY c.id
        ON CONFLICT (client_id) DO UPDATE SET rules = t.rules + excluded.rules, bytes = t.bytes + excluded.bytes;
        INSERT INTO rule_changes (client_id, revision, rule_id)
        SELECT c.id, c.version + c.settings_version, r.id
        FROM added r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL
        ON CONFLICT DO NOTHING;
        DELETE FROM rule_changes d USING clients c
        WHERE c.id IN (SELECT client_id FROM added) AND d.client_id = c.id AND d.revision <= c.version + c.settings_version - 1000;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO rule_totals AS t (client_id, rules, bytes)
        SELECT c.id, sum(r.n), sum(r.n * (octet_length(r.posted_type) + octet_length(r.webhook) + octet_length(r.emails)))
        FROM (SELECT 1 AS n, added.* FROM added UNION ALL SELECT -1, removed.* FROM removed) r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL GROUP BY c.id
        ON CONFLICT (client_id) DO UPDATE SET rules = t.rules + excluded.rules, bytes = t.bytes + excluded.bytes;
        INSERT INTO rule_changes (client_id, revision, rule_id)
        SELECT c.id, c.version + c.settings_version, r.id
        FROM added r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL
        ON CONFLICT DO NOTHING;
        DELETE FROM rule_changes d USING clients c
        WHERE c.id IN (SELECT client_id FROM added) AND d.client_id = c.id AND d.revision <= c.version + c.settings_version - 1000;
    ELSE
        INSERT INTO rule_totals AS t (client_id, rules, bytes)
        SELECT c.id, sum(r.n), sum(r.n * (octet_length(r.posted_type) + octet_length(r.webhook) + octet_length(r.emails)))
        FROM (SELECT -1 AS n, removed.* FROM removed) r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL GROUP BY c.id
        ON CONFLICT (client_id) DO UPDATE SET rules = t.rules + excluded.rules, bytes = t.bytes + excluded.bytes;
        INSERT INTO rule_changes (client_id, revision, rule_id)
        SELECT c.id, c.version + c.settings_version, r.id
        FROM removed r JOIN clients c ON c.id = r.client_id AND c.deleted_at IS NULL
        ON CONFLICT DO NOTHING;
        DELETE FROM rule_changes d USING clients c
        WHERE c.id IN (SELECT client_id FROM removed) AND d.client_id = c.id AND d.revision <= c.version + c.settings_version - 1000;
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
