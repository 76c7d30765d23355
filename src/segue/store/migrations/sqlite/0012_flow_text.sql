-- Flows are found by the words of their text, too.
CREATE VIRTUAL TABLE flow_search_with_text USING fts5 (
    workspace, id, name, description, tags, steps, actions, text,
    tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
);
INSERT INTO flow_search_with_text (rowid, workspace, id, name, description, tags, steps, actions, text)
    SELECT s.rowid, s.workspace, s.id, s.name, s.description, s.tags, s.steps, s.actions, f.draft
    FROM flow_search AS s JOIN flow AS f ON f.key = s.rowid;
DROP TABLE flow_search;
ALTER TABLE flow_search_with_text RENAME TO flow_search;
