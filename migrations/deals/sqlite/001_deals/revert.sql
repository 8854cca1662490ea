-- Takes the table with its rows: there is no schema before 001 that could hold them.
BEGIN IMMEDIATE;
DROP TABLE deals;
COMMIT;
