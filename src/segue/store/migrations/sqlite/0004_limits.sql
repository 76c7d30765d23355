-- Limits by key, and results that are used again.

-- What the flow's runs are counted by under its `limits` (JSON text, '' if all together); NULL: the flow has none.
ALTER TABLE run ADD COLUMN limit_key TEXT;
ALTER TABLE run ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- A queued run that waits for a slot or for its time is no work that a host must take up when it starts.
DROP INDEX run_unfinished;
CREATE INDEX run_unfinished ON run (key)
    WHERE status = 'running' OR (status = 'queued' AND limit_key IS NULL AND wake_at IS NULL);

-- Only runs of flows with limits stand in these.
CREATE INDEX run_under_way ON run (workspace, flow_id, limit_key)
    WHERE limit_key IS NOT NULL AND status IN ('running', 'waiting', 'paused');
CREATE INDEX run_queue ON run (workspace, flow_id, limit_key, priority DESC)
    WHERE limit_key IS NOT NULL AND status = 'queued' AND wake_at IS NULL;
CREATE INDEX run_begun ON run (workspace, flow_id, limit_key, started_at)
    WHERE limit_key IS NOT NULL AND started_at IS NOT NULL;

-- Steps that wait for a slot of their own limits. `slots` names what is counted together: workspace, flow, step, key.
CREATE TABLE slot_wait (
    run_key INTEGER NOT NULL,
    step    INTEGER NOT NULL,
    slots   TEXT NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (run_key, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX slot_wait_in_order ON slot_wait (slots, since);

-- When attempts began that are limited in time, for as long as they count.
CREATE TABLE slot_begun (
    slots TEXT NOT NULL,
    at    INTEGER NOT NULL
) STRICT;
CREATE INDEX slot_begun_in_order ON slot_begun (slots, at);

-- Successes that stand for later calls. `key` is a keyed hash of what the call was; `data` is as in the journal.
CREATE TABLE result_cache (
    key        BLOB PRIMARY KEY,
    run_id     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    data       ANY NOT NULL CHECK (typeof(data) = 'blob' OR length(data) = 64)
) STRICT, WITHOUT ROWID;
CREATE INDEX result_cache_by_expiry ON result_cache (expires_at);
