-- Who left a step out, and who undid it. The tables are emptied before, so the defaults are never
-- read; both databases need one for a column without NULL.
ALTER TABLE steps ADD COLUMN skipped_by TEXT NOT NULL DEFAULT '';
ALTER TABLE steps ADD COLUMN undo_worker TEXT NOT NULL DEFAULT '';
