-- What whoever starts a run says of it, and the texts of failures for search.

-- `labels` and `metadata` are JSON objects; no row: there are none.
CREATE TABLE run_note (
    run_id   TEXT PRIMARY KEY,
    labels   TEXT NOT NULL,
    metadata TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The runs of a label in order. Names that `run` has not, since lists read both.
CREATE TABLE run_label (
    space   TEXT NOT NULL,
    name    TEXT NOT NULL,
    label   TEXT NOT NULL,
    at      INTEGER NOT NULL,
    run_key INTEGER NOT NULL,
    PRIMARY KEY (space, name, label, at, run_key)
) STRICT, WITHOUT ROWID;

-- Parts of words of what runs failed with; the text itself is only in `run`. PostgreSQL has a trigram index in its place.
CREATE VIRTUAL TABLE run_search USING fts5 (error, content = 'run', content_rowid = 'key', tokenize = 'trigram');
INSERT INTO run_search (rowid, error) SELECT key, error FROM run WHERE error IS NOT NULL;
CREATE TRIGGER run_failed AFTER INSERT ON run WHEN NEW.error IS NOT NULL BEGIN
    INSERT INTO run_search (rowid, error) VALUES (NEW.key, NEW.error);
END;
CREATE TRIGGER run_error_changed AFTER UPDATE OF error ON run WHEN NEW.error IS NOT OLD.error BEGIN
    INSERT INTO run_search (run_search, rowid, error)
        SELECT 'delete', OLD.key, OLD.error WHERE OLD.error IS NOT NULL;
    INSERT INTO run_search (rowid, error) SELECT NEW.key, NEW.error WHERE NEW.error IS NOT NULL;
END;
