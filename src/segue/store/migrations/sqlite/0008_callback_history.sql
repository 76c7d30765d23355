-- What was sent to callbacks, taken or refused; and lists of runs by more of what people look for.

-- `code` is the slug of the problem that a refused sender got, `payload` masked JSON, cut off where it is long. Of a run
-- only so many are kept.
CREATE TABLE callback_signal (
    id        TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    run_id    TEXT NOT NULL,
    step      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    taken     INTEGER NOT NULL,
    sender    TEXT NOT NULL,
    code      TEXT,
    reason    TEXT,
    payload   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX callback_signal_by_run ON callback_signal (workspace, run_id, id);

CREATE INDEX run_by_flow_and_status ON run (workspace, flow_id, status, created_at);
CREATE INDEX run_by_trigger ON run (workspace, "trigger", created_at);
CREATE INDEX run_by_parent ON run (workspace, parent_run_id, created_at) WHERE parent_run_id IS NOT NULL;
CREATE INDEX run_with_error ON run (workspace, created_at) WHERE error IS NOT NULL;
