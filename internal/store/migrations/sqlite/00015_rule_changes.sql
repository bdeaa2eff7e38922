-- +goose Up

-- Which rules have changed at the client's last 1,000 revisions, so that a node reads no others
-- (account_state.go). Triggers write both tables: then nobody can forget it, and binaries of before, which
-- can go on, do it too.
CREATE TABLE rule_changes (
    client_id BLOB    NOT NULL,
    revision  INTEGER NOT NULL, -- of the client, after the change
    rule_id   BLOB    NOT NULL,
    PRIMARY KEY (client_id, revision, rule_id)
) WITHOUT ROWID;

-- How many rules a client has, and the bytes of their texts. A client without a row has none.
CREATE TABLE rule_totals (
    client_id BLOB    PRIMARY KEY,
    rules     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO rule_totals (client_id, rules, bytes)
SELECT client_id, count(*), sum(octet_length(posted_type) + octet_length(webhook) + octet_length(emails))
FROM rules WHERE client_id IN (SELECT id FROM clients WHERE deleted_at IS NULL) GROUP BY client_id;

-- +goose StatementBegin
CREATE TRIGGER rule_added AFTER INSERT ON rules BEGIN
    INSERT INTO rule_totals (client_id, rules, bytes)
    SELECT id, 1, octet_length(NEW.posted_type) + octet_length(NEW.webhook) + octet_length(NEW.emails)
    FROM clients WHERE id = NEW.client_id AND deleted_at IS NULL
    ON CONFLICT (client_id) DO UPDATE SET rules = rules + excluded.rules, bytes = bytes + excluded.bytes;
    INSERT OR IGNORE INTO rule_changes (client_id, revision, rule_id)
    SELECT id, version + settings_version, NEW.id FROM clients WHERE id = NEW.client_id AND deleted_at IS NULL;
    DELETE FROM rule_changes WHERE client_id = NEW.client_id
    AND revision <= (SELECT version + settings_version - 1000 FROM clients WHERE id = NEW.client_id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER rule_changed AFTER UPDATE ON rules BEGIN
    INSERT INTO rule_totals (client_id, rules, bytes)
    SELECT id, 0, octet_length(NEW.posted_type) + octet_length(NEW.webhook) + octet_length(NEW.emails)
        - octet_length(OLD.posted_type) - octet_length(OLD.webhook) - octet_length(OLD.emails)
    FROM clients WHERE id = NEW.client_id AND deleted_at IS NULL
    ON CONFLICT (client_id) DO UPDATE SET rules = rules + excluded.rules, bytes = bytes + excluded.bytes;
    INSERT OR IGNORE INTO rule_changes (client_id, revision, rule_id)
    SELECT id, version + settings_version, NEW.id FROM clients WHERE id = NEW.client_id AND deleted_at IS NULL;
    DELETE FROM rule_changes WHERE client_id = NEW.client_id
    AND revision <= (SELECT version + settings_version - 1000 FROM clients WHERE id = NEW.client_id);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER rule_deleted AFTER DELETE ON rules BEGIN
    INSERT INTO rule_totals (client_id, rules, bytes)
    SELECT id, -1, - octet_length(OLD.posted_type) - octet_length(OLD.webhook) - octet_length(OLD.emails)
    FROM clients WHERE id = OLD.client_id AND deleted_at IS NULL
    ON CONFLICT (client_id) DO UPDATE SET rules = rules + excluded.rules, bytes = bytes + excluded.bytes;
    INSERT OR IGNORE INTO rule_changes (client_id, revision, rule_id)
    SELECT id, version + settings_version, OLD.id FROM clients WHERE id = OLD.client_id AND deleted_at IS NULL;
    DELETE FROM rule_changes WHERE client_id = OLD.client_id
    AND revision <= (SELECT version + settings_version - 1000 FROM clients WHERE id = OLD.client_id);
END;
-- +goose StatementEnd
