-- +goose Up

-- Who is signed in to the portal. A session is bound to an API key (key_id) or to the
-- operator's key (operator_key); with both client_id and operator_key, a portal link began it.
CREATE TABLE sessions (
    hash         BLOB PRIMARY KEY, -- of the secret in the cookie
    client_id    BLOB,
    key_id       BLOB,
    operator_key BLOB,             -- its fingerprint
    role         TEXT    NOT NULL,
    made_at      INTEGER NOT NULL,
    used_at      INTEGER NOT NULL,
    ends_at      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_key ON sessions (key_id, used_at) WHERE key_id IS NOT NULL;
CREATE INDEX sessions_by_operator ON sessions (operator_key, client_id, used_at) WHERE operator_key IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (ends_at);

-- Links that sign one person in, and have not been used yet.
CREATE TABLE portal_links (
    hash         BLOB PRIMARY KEY, -- of the secret in the link
    client_id    BLOB    NOT NULL,
    operator_key BLOB    NOT NULL,
    role         TEXT    NOT NULL,
    path         TEXT    NOT NULL,
    expires_at   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX portal_links_by_client ON portal_links (client_id);
CREATE INDEX portal_links_by_end ON portal_links (expires_at);
