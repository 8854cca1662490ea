-- The last acknowledged position of each ledger, as the servers remember it. No view: it is not
-- rebuilt from the ledger but compared with it, and stays when the views are emptied. May be run
-- again; both databases read it alike.
CREATE TABLE IF NOT EXISTS acknowledged (
    ledger TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    commit_id TEXT NOT NULL
);
