-- The alias table alone, for mapping unknown values before migration 004: run this, then insert a
-- row for each value that 004 refused, then deploy 004. Repeating it changes nothing.
-- The one source of the table and its rows: deploy.sql carries them word for word.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS deal_type_alias (
  value     TEXT PRIMARY KEY NOT NULL
            CONSTRAINT alias_is_folded
            CHECK (value = lower(trim(value, char(32, 9, 10, 13, 11, 12)))),
  deal_type TEXT NOT NULL
            CONSTRAINT alias_deal_type CHECK (deal_type IN ('acquisition', 'carveout', 'divestiture')),
  built_in  INTEGER NOT NULL DEFAULT 0
);

INSERT INTO deal_type_alias (value, deal_type, built_in) VALUES
  ('', 'acquisition', 1),
  ('acquisition', 'acquisition', 1),
  ('carveout', 'carveout', 1),
  ('divestiture', 'divestiture', 1),
  ('merger', 'acquisition', 1),
  ('investment', 'acquisition', 1),
  ('other', 'acquisition', 1),
  ('bolt_on', 'acquisition', 1),
  ('platform', 'acquisition', 1),
  ('carve-out', 'carveout', 1),
  ('carve_out', 'carveout', 1),
  ('spinoff', 'carveout', 1),
  ('spin-off', 'carveout', 1),
  ('sale', 'divestiture', 1),
  ('disposal', 'divestiture', 1)
ON CONFLICT (value) DO NOTHING;

COMMIT;
