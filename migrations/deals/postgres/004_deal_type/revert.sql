-- Restores schema and data: each row that 004 changed gets its prior value back, unless somebody
-- has given it another type since; that later decision stays. Aliases added by a person stay too.
BEGIN;
SET LOCAL lock_timeout = '5s';

LOCK TABLE deals IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
  IF to_regclass('deal_type_prior') IS NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-5: table deal_type_prior is missing; migration 004 is not deployed'
      USING HINT = 'Nothing was changed.';
  END IF;
END $$;

ALTER TABLE deals
  DROP CONSTRAINT valid_deal_type,
  ALTER COLUMN deal_type DROP NOT NULL,
  ALTER COLUMN deal_type DROP DEFAULT;

UPDATE deals AS d
SET deal_type = p.deal_type
FROM deal_type_prior AS p
WHERE p.deal_id = d.id AND d.deal_type = p.mapped_type;

DROP TABLE deal_type_prior;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM deal_type_alias WHERE NOT built_in) THEN
    DROP TABLE deal_type_alias;
  END IF;
END $$;

COMMIT;
