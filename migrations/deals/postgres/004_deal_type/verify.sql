-- Shape only: NOT NULL, the default, the validated CHECK, and both tables.
DO $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = 'deals'::regclass AND attname = 'deal_type' AND attnotnull)
  THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 004 is not in place: deals.deal_type allows NULL';
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_constraint
    WHERE conrelid = 'deals'::regclass AND conname = 'valid_deal_type' AND contype = 'c'
      AND convalidated
      AND pg_get_constraintdef(oid) LIKE '%acquisition%carveout%divestiture%')
  THEN
    RAISE EXCEPTION
      'RB-MIGRATE-2: migration 004 is not in place: CHECK valid_deal_type is missing or not validated';
  END IF;
  IF NOT EXISTS (
    SELECT FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = 'deals' AND column_name = 'deal_type'
      AND column_default LIKE '''acquisition''%')
  THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 004 is not in place: deal_type has no default';
  END IF;
  IF to_regclass('deal_type_alias') IS NULL OR to_regclass('deal_type_prior') IS NULL THEN
    RAISE EXCEPTION
      'RB-MIGRATE-2: migration 004 is not in place: deal_type_alias or deal_type_prior is missing';
  END IF;
END $$;
