-- Takes the table with its rows: there is no schema before 001 that could hold them.
BEGIN;
SET LOCAL lock_timeout = '5s';
DROP TABLE deals;
COMMIT;
