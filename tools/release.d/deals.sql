-- The generated deals ten times, under random ids, which like UUIDs are unrelated to the order on disk.
-- `column` is the type of the inventory; as `json` it has no spaces, as many programs write it.
SET client_min_messages = warning; -- not of what is there already
CREATE TABLE IF NOT EXISTS generated AS SELECT * FROM deals;
DROP TABLE deals;
CREATE UNLOGGED TABLE deals AS
SELECT CAST(CAST(md5(n || g.id) AS uuid) AS text) COLLATE "C" AS id, 'tenant-' || n AS tenant_id, g.deal_type,
    CAST(replace(replace(CAST(g.inventory AS text), '": ', '":'), ', "', ',"') AS :column) AS inventory, g.deleted_at
FROM generate_series(0, 9) n CROSS JOIN generated g
-- The few large ones would be most of what is read.
WHERE length(CAST(g.inventory AS text)) < 4500;
ALTER TABLE deals ADD PRIMARY KEY (id);
CREATE INDEX deals_live ON deals (id) WHERE deleted_at IS NULL;
VACUUM ANALYZE deals;
