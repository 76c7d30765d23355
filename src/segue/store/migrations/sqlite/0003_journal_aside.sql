-- Events that did not fold and were set aside when their run was rolled back, as they stood in `journal`. They are kept
-- for people to look at; nothing reads them to run anything.
CREATE TABLE journal_aside (
    run_key      INTEGER NOT NULL,
    set_aside_at INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    step         INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    data         ANY NOT NULL,
    PRIMARY KEY (run_key, set_aside_at, seq)
) STRICT, WITHOUT ROWID;
