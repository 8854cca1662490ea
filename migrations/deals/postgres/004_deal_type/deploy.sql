-- deal_type becomes NOT NULL with the CHECK valid_deal_type.
--
-- Values are mapped through deal_type_alias (trimmed, lower case; NULL counts as ''). A value
-- without a row there is never guessed: the migration refuses with the list of them. The value that
-- each changed row had is kept in deal_type_prior, so that revert restores data and not only the
-- schema. No other column is touched. All or nothing.
BEGIN;
SET LOCAL lock_timeout = '5s';

-- From here to COMMIT no other session adds or changes a deal.
LOCK TABLE deals IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
  IF EXISTS (
    SELECT FROM pg_constraint WHERE conrelid = 'deals'::regclass AND conname = 'valid_deal_type')
  THEN
    RAISE EXCEPTION
      'RB-MIGRATE-1: constraint valid_deal_type exists; migration 004 is already deployed'
      USING HINT = 'Nothing was changed.';
  END IF;
END $$;

-- aliases.sql word for word, in this transaction; change it there and copy it (a test compares).
CREATE TABLE IF NOT EXISTS deal_type_alias (
  value     varchar(50) COLLATE "C" PRIMARY KEY
            CONSTRAINT alias_is_folded CHECK (value = lower(btrim(value, E' \t\n\r\x0b\f'))),
  deal_type varchar(50) NOT NULL
            CONSTRAINT alias_deal_type CHECK (deal_type IN ('acquisition', 'carveout', 'divestiture')),
  built_in  boolean NOT NULL DEFAULT false
);

INSERT INTO deal_type_alias (value, deal_type, built_in) VALUES
  ('', 'acquisition', true),
  ('acquisition', 'acquisition', true),
  ('carveout', 'carveout', true),
  ('divestiture', 'divestiture', true),
  ('merger', 'acquisition', true),
  ('investment', 'acquisition', true),
  ('other', 'acquisition', true),
  ('bolt_on', 'acquisition', true),
  ('platform', 'acquisition', true),
  ('carve-out', 'carveout', true),
  ('carve_out', 'carveout', true),
  ('spinoff', 'carveout', true),
  ('spin-off', 'carveout', true),
  ('sale', 'divestiture', true),
  ('disposal', 'divestiture', true)
ON CONFLICT (value) DO NOTHING;

DO $$
DECLARE
  unknown text;
BEGIN
  SELECT string_agg(format('%L (%s)', listed.deal_type, listed.deals), ', ' ORDER BY listed.deal_type)
    || CASE WHEN max(listed.kinds) > 100 THEN format(' and %s more', max(listed.kinds) - 100) ELSE '' END
  INTO unknown
  FROM (
    SELECT d.deal_type, count(*) AS deals, count(*) OVER () AS kinds
    FROM deals AS d
    LEFT JOIN deal_type_alias AS a
      ON a.value = lower(btrim(coalesce(d.deal_type, ''), E' \t\n\r\x0b\f') COLLATE "C")
    WHERE a.value IS NULL
    GROUP BY d.deal_type
    ORDER BY d.deal_type
    LIMIT 100
  ) AS listed;
  IF unknown IS NOT NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-4: unknown deal types (number of deals): %', unknown
      USING HINT = 'Run aliases.sql, add a row to deal_type_alias for each, and deploy again. '
        'Nothing was changed.';
  END IF;
END $$;

CREATE TABLE deal_type_prior (
  deal_id     varchar(36) COLLATE "C" PRIMARY KEY,
  deal_type   varchar(50),
  mapped_type varchar(50) NOT NULL
);

INSERT INTO deal_type_prior (deal_id, deal_type, mapped_type)
SELECT d.id, d.deal_type, a.deal_type
FROM deals AS d
JOIN deal_type_alias AS a ON a.value = lower(btrim(coalesce(d.deal_type, ''), E' \t\n\r\x0b\f') COLLATE "C")
WHERE d.deal_type IS DISTINCT FROM a.deal_type;

UPDATE deals AS d
SET deal_type = p.mapped_type
FROM deal_type_prior AS p
WHERE p.deal_id = d.id;

ALTER TABLE deals
  ALTER COLUMN deal_type SET DEFAULT 'acquisition',
  ALTER COLUMN deal_type SET NOT NULL,
  ADD CONSTRAINT valid_deal_type CHECK (deal_type IN ('acquisition', 'carveout', 'divestiture'));

COMMIT;
