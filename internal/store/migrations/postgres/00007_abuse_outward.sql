-- +goose Up

-- How many mails each client has caused in a day in UTC, and to how many mailboxes
-- (queue_mailbounds.go).
CREATE TABLE mail_days (
    client_id uuid NOT NULL,
    day       bigint NOT NULL, -- since the epoch
    mails     bigint NOT NULL,
    mailboxes bigint NOT NULL,
    PRIMARY KEY (client_id, day)
);
CREATE INDEX mail_days_by_day ON mail_days (day);

-- Which mails those were, so that each counts once.
CREATE TABLE day_mails (
    client_id   uuid NOT NULL,
    day         bigint NOT NULL,
    delivery_id uuid NOT NULL,
    address     text NOT NULL, -- as in mail_windows
    PRIMARY KEY (client_id, day, delivery_id)
);
CREATE INDEX day_mails_by_address ON day_mails (client_id, day, address);
CREATE INDEX day_mails_by_day ON day_mails (day);

-- Which mailboxes were asked whether they take a client's mail, and which have confirmed.
CREATE TABLE confirmations (
    client_id    uuid NOT NULL,
    address      text NOT NULL, -- as in mail_windows
    ask_after    bigint NOT NULL, -- no mail asks before this time
    confirmed_at bigint,          -- NULL: not yet
    PRIMARY KEY (client_id, address)
);
CREATE INDEX confirmations_open ON confirmations (ask_after) WHERE confirmed_at IS NULL;

-- Which receivers have consented to be called for a client (account_consents.go).
CREATE TABLE consents (
    client_id uuid NOT NULL,
    receiver  bytea NOT NULL, -- SHA-256 of the origin and the path
    address   text NOT NULL, -- the origin and the start of the path, for people
    until     bigint NOT NULL, -- 0: no consent
    rate      bigint NOT NULL, -- requests per minute; 0: any number
    ask_after bigint NOT NULL, -- no node asks before this time
    failures  bigint NOT NULL, -- questions without consent since the last consent
    why       text NOT NULL, -- why there is no consent
    PRIMARY KEY (client_id, receiver)
);
CREATE INDEX consents_by_age ON consents (ask_after);
