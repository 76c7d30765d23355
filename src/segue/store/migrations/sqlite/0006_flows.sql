-- Flows of a workspace: drafts, versions, tags, templates, saved steps.

-- A version that has run belongs to a workspace: two of them may have flows of the same id, even with the same content.
CREATE TABLE flow_version_of_workspace (
    key        INTEGER PRIMARY KEY,
    workspace  TEXT NOT NULL,
    flow_id    TEXT NOT NULL,
    digest     TEXT NOT NULL,
    version    TEXT,
    model      BLOB NOT NULL,
    source     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, flow_id, digest)
) STRICT;
INSERT INTO flow_version_of_workspace
    SELECT key, 'default', flow_id, digest, version, model, source, created_at FROM flow_version;
DROP TABLE flow_version;
ALTER TABLE flow_version_of_workspace RENAME TO flow_version;
CREATE INDEX flow_version_by_id ON flow_version (workspace, flow_id, key);

-- A flow with its one draft: the text as somebody wrote it, counted by `revision`. What can be listed and searched for
-- is drawn from the last draft that could be read. `published` is the version that runs; NULL: none yet. `followed` is the
-- version whose triggers are in force: it lags behind if the process ended in between.
CREATE TABLE flow (
    key         INTEGER PRIMARY KEY,
    workspace   TEXT NOT NULL,
    id          TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('live', 'archived', 'deleted')),
    name        TEXT NOT NULL,
    sort_name   TEXT NOT NULL,
    description TEXT,
    category    TEXT,
    tags        TEXT NOT NULL,
    steps       INTEGER NOT NULL,
    inputs      TEXT NOT NULL,
    problems    TEXT NOT NULL,
    draft       TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    published   INTEGER,
    followed    INTEGER,
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    updated_at  INTEGER NOT NULL,
    updated_by  TEXT NOT NULL
) STRICT;
-- A deleted flow leaves its id to others; its runs keep their versions.
CREATE UNIQUE INDEX flow_by_id ON flow (workspace, id) WHERE state <> 'deleted';
CREATE INDEX flow_by_name ON flow (workspace, state, sort_name, id);
CREATE INDEX flow_by_update ON flow (workspace, state, updated_at, id);
CREATE INDEX flow_by_creation ON flow (workspace, state, created_at, id);
CREATE INDEX flow_by_category ON flow (workspace, category, state, sort_name, id);
CREATE INDEX flow_unsettled ON flow (key)
    WHERE COALESCE(CASE WHEN state = 'live' THEN published END, -1) <> COALESCE(followed, -1);
CREATE INDEX flow_deleted ON flow (workspace, id, updated_at) WHERE state = 'deleted';

-- What a flow was at a number, for good. `digest` is of the text and of what it meant.
CREATE TABLE stored_version (
    key          INTEGER PRIMARY KEY,
    workspace    TEXT NOT NULL,
    flow         INTEGER NOT NULL REFERENCES flow (key),
    number       TEXT NOT NULL,
    digest       TEXT NOT NULL,
    source       TEXT NOT NULL,
    model        BLOB NOT NULL,
    message      TEXT,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    published_at INTEGER,
    published_by TEXT,
    UNIQUE (flow, number)
) STRICT;
CREATE INDEX stored_version_in_order ON stored_version (flow, key);

CREATE TABLE flow_tag (
    workspace TEXT NOT NULL,
    tag       TEXT NOT NULL,
    flow      INTEGER NOT NULL REFERENCES flow (key),
    PRIMARY KEY (workspace, tag, flow)
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_tag_by_flow ON flow_tag (flow);

-- Flows that somebody wants to see first, in the order of that person. By id: flows of folders can be favourites, too.
CREATE TABLE flow_favourite (
    workspace TEXT NOT NULL,
    owner     TEXT NOT NULL,
    flow_id   TEXT NOT NULL,
    place     INTEGER NOT NULL,
    PRIMARY KEY (workspace, owner, flow_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_favourite_in_order ON flow_favourite (workspace, owner, place);

-- Full text over flows; `rowid` is the flow's key. PostgreSQL has a tsvector in the place of this.
CREATE VIRTUAL TABLE flow_search USING fts5 (
    workspace, id, name, description, tags, steps, actions,
    tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
);

-- Steps that every flow of the workspace may use by name, as `definitions` are written in a file.
CREATE TABLE saved_step (
    workspace   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    body        TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    updated_by  TEXT NOT NULL,
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

-- Texts with places to fill in, from which flows are made. `parameters` is a JSON Schema.
CREATE TABLE flow_template (
    workspace   TEXT NOT NULL,
    id          TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT,
    category    TEXT,
    tags        TEXT NOT NULL,
    parameters  TEXT NOT NULL,
    source      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
