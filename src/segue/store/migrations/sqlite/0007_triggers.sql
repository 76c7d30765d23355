-- What starts runs: webhooks with their deliveries, schedules, events, other flows.

-- `name` is the trigger's within its flow. `origin`: where it was declared (a folder's file, a stored flow) or `api`.
-- `subject`: the event's name or the other flow's id. `declared` is 0 when its flow does not name it any more: it keeps
-- its address and its secrets for the day when it does. `generation` makes the unguessable part of its address.
CREATE TABLE flow_trigger (
    id          TEXT PRIMARY KEY,
    workspace   TEXT NOT NULL,
    flow_id     TEXT NOT NULL,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('webhook', 'cron', 'event', 'flow', 'manual')),
    origin      TEXT NOT NULL CHECK (origin IN ('folder', 'stored', 'api')),
    settings    TEXT NOT NULL,
    condition   TEXT,
    subject     TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    enabled     INTEGER NOT NULL,
    declared    INTEGER NOT NULL,
    capture     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    fired_at    INTEGER,
    fired_count INTEGER NOT NULL DEFAULT 0,
    last_run_id TEXT,
    last_error  TEXT
) STRICT;
CREATE UNIQUE INDEX flow_trigger_by_name ON flow_trigger (workspace, flow_id, name);

-- Secrets that were generated or given; those that stand elsewhere are named in the trigger's settings.
CREATE TABLE trigger_secret (
    id         TEXT PRIMARY KEY,
    workspace  TEXT NOT NULL,
    trigger_id TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retire_at  INTEGER
) STRICT;
CREATE INDEX trigger_secret_of ON trigger_secret (trigger_id);

-- What came to a webhook. `verdict`: accepted, ignored, refused, captured, replayed. The body of a refused one is cut.
CREATE TABLE delivery (
    id           TEXT PRIMARY KEY,
    workspace    TEXT NOT NULL,
    flow_id      TEXT NOT NULL,
    trigger_id   TEXT NOT NULL,
    at           INTEGER NOT NULL,
    method       TEXT NOT NULL,
    content_type TEXT NOT NULL,
    headers      TEXT NOT NULL,
    query        TEXT NOT NULL,
    body         BLOB NOT NULL,
    body_bytes   INTEGER NOT NULL,
    verdict      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    run_id       TEXT,
    replay_of    TEXT
) STRICT;
CREATE INDEX delivery_in_order ON delivery (workspace, id);
CREATE INDEX delivery_of_trigger ON delivery (trigger_id, id);
CREATE INDEX delivery_by_verdict ON delivery (trigger_id, verdict, id);

-- Which deliveries a webhook has had, by what the sender calls them.
CREATE TABLE delivery_seen (
    trigger_id  TEXT NOT NULL,
    seen        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    delivery_id TEXT NOT NULL,
    run_id      TEXT,
    PRIMARY KEY (trigger_id, seen)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_seen_by_age ON delivery_seen (at);

-- When a trigger of the kind `cron` is due next; no row: never again.
CREATE TABLE schedule_due (
    trigger_id TEXT PRIMARY KEY,
    next_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX schedule_due_next ON schedule_due (next_at);

-- What became of each due time. `outcome`: started, queued, skipped, missed, failed, manual.
CREATE TABLE schedule_fire (
    trigger_id TEXT NOT NULL,
    due        INTEGER NOT NULL,
    workspace  TEXT NOT NULL,
    at         INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    run_id     TEXT,
    error      TEXT,
    PRIMARY KEY (trigger_id, due)
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_fire_queued ON schedule_fire (trigger_id, due) WHERE outcome = 'queued';
