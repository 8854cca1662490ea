-- The deals table as the deal tool first had it: deal_type is nullable and unconstrained.
-- Ids compare bytewise (COLLATE "C"), so that key order is the same on every machine and in SQLite.
BEGIN;
SET LOCAL lock_timeout = '5s';

DO $$
BEGIN
  IF to_regclass('deals') IS NOT NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-1: table deals exists; migration 001 is already deployed'
      USING HINT = 'Nothing was changed.';
  END IF;
END $$;

CREATE TABLE deals (
  id           varchar(36) COLLATE "C" PRIMARY KEY,
  tenant_id    varchar(36),
  owner_id     varchar(36),
  name         varchar(255) NOT NULL DEFAULT '',
  target_name  varchar(255) NOT NULL,
  buyer_name   varchar(255),
  deal_type    varchar(50),
  industry     varchar(100),
  sub_industry varchar(100),
  deal_value   varchar(50),
  status       varchar(20) NOT NULL DEFAULT 'draft',
  inventory    jsonb,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN deals.deal_value IS 'a range as text, such as 50M-100M';
COMMENT ON COLUMN deals.inventory IS 'one JSON array of inventory items; NULL is an empty inventory';

COMMIT;
