-- Answers to requests that brought an idempotency key, for as long as the key counts.

-- `id` is the SHA-256 of workspace, owner and key; `digest` that of the request. `sealed` is the answer, encrypted, since
-- some answers show a key or a secret once; NULL: the request is being carried out, or was cut off.
CREATE TABLE kept_answer (
    id         TEXT PRIMARY KEY,
    workspace  TEXT NOT NULL,
    digest     TEXT NOT NULL,
    sealed     BLOB,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_answer_by_age ON kept_answer (created_at);
