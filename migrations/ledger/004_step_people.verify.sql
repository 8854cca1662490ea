-- Fails when a column is missing. Reads no row.
SELECT
    t."skipped_by", t."undo_worker"
FROM steps t WHERE 1 = 0;
