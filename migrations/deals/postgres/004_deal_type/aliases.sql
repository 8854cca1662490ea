-- The alias table alone, for mapping unknown values before migration 004: run this, then insert a
-- row for each value that 004 refused, then deploy 004. Repeating it changes nothing.
-- The one source of the table and its rows: deploy.sql carries them word for word.
BEGIN;

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

COMMIT;
