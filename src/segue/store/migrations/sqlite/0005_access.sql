-- Who may do what: workspaces, people, their sessions, keys of programs, roles, grants, switches.
-- Secrets of identities are kept as hashes only: passwords as argon2id, random tokens as SHA-256.

CREATE TABLE workspace (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;
INSERT INTO workspace(id, name, created_at) VALUES ('default', 'Default', 0);

-- People of the whole server. `email` is in lower case. `password` is null for who only comes by OpenID.
CREATE TABLE account (
    id          TEXT PRIMARY KEY,
    email       TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    password    TEXT,
    issuer      TEXT,
    subject     TEXT,
    created_at  INTEGER NOT NULL,
    password_at INTEGER,
    login_at    INTEGER,
    disabled_at INTEGER,
    UNIQUE (issuer, subject)
) STRICT;

CREATE TABLE membership (
    workspace  TEXT NOT NULL REFERENCES workspace(id),
    account_id TEXT NOT NULL REFERENCES account(id),
    role       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, account_id)
) STRICT;
CREATE INDEX membership_of_account ON membership (account_id, created_at);

CREATE TABLE session (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES account(id),
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL
) STRICT;
CREATE INDEX session_of_account ON session (account_id, created_at);
CREATE INDEX session_by_end ON session (expires_at);

-- One-time links with which a person sets a password: an invitation, or a forgotten one.
CREATE TABLE password_link (
    hash       BLOB PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES account(id),
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX password_link_of_account ON password_link (account_id);

-- `account_id`: whose key it is; it can do no more than that person. Null: a key of the workspace itself.
-- `permissions` and `flows` are JSON lists; `flows` null: all.
CREATE TABLE api_key (
    id          TEXT PRIMARY KEY,
    workspace   TEXT NOT NULL REFERENCES workspace(id),
    hash        BLOB NOT NULL UNIQUE,
    start       TEXT NOT NULL,
    name        TEXT NOT NULL,
    account_id  TEXT REFERENCES account(id),
    permissions TEXT NOT NULL,
    flows       TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    used_at     INTEGER,
    revoked_at  INTEGER
) STRICT;
CREATE INDEX api_key_of_workspace ON api_key (workspace, id);

CREATE TABLE role (
    workspace   TEXT NOT NULL REFERENCES workspace(id),
    name        TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT;

-- What a user, a key or a role may do with one flow, beyond what it may do anyway.
CREATE TABLE flow_grant (
    id           TEXT PRIMARY KEY,
    workspace    TEXT NOT NULL REFERENCES workspace(id),
    flow_id      TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject      TEXT NOT NULL,
    permissions  TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (workspace, subject_kind, subject, flow_id)
) STRICT;
CREATE INDEX flow_grant_of_workspace ON flow_grant (workspace, id);

-- Switches that were set. `workspace` is empty for those of the whole server.
CREATE TABLE flag (
    workspace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    is_on      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT;
