-- Who left a step out, and who undid it. The tables are empty then, so the defaults are never read;
-- a column without NULL needs one.
ALTER TABLE steps ADD COLUMN "skipped_by" TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE steps ADD COLUMN "undo_worker" TEXT COLLATE "C" NOT NULL DEFAULT '';
