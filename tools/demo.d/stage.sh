# shellcheck shell=bash
# Shared by both demos: the set-up and the rollout, with or without a faulty model.

# Deals in each database.
deals_count=5000

# set_stage MODEL : starts databases, ledger and both services. MODEL is the cost model of the services
# and of the rollout's snapshots; an empty one is the built-in model.
set_stage() {
    model=$1
    start_databases "$deals_count"
    choose_addresses
    # The runbook's sources refer to these variables; a plan never contains URLs.
    export DEALS_STAGING_URL=$staging_db DEALS_PRODUCTION_URL=$production_db
    export DEALS_REHEARSAL_URL=$rehearsal_db
    export COST_SERVICE_STAGING_URL=$staging_url COST_SERVICE_PRODUCTION_URL=$production_url
    # Tells every rollbook command where the server is.
    export ROLLBOOK_SERVER=$rollbook_url
    start_rollbook
    start_cost_service staging "$staging_url" "$staging_db" "$model"
    start_cost_service production "$production_url" "$production_db" "$model"
}

# Shortens watches from hours to seconds, and replaces commands that name a server by local ones.
open_demo_rollout() {
    # The runbook sets DEAL_TYPE_AWARENESS to the behaviour that a smoke test must find. The
    # programs are already built, so deploying only checks that the service answers as before.
    local expected='--expect-flag "$([ "$DEAL_TYPE_AWARENESS" = true ] && echo on || echo off)"'
    local staging_check="$programs/cost-service check --url $staging_url"
    local production_check="$programs/cost-service check --url $production_url"
    local parameters=(
        database_watch=4s code_watch=4s ui_watch=4s sample_every=1s audit_delay=3s
        "maintenance_window=* * * * *" maintenance_length=5m maintenance_mode=false
        "test_command=$repo/tools/demo.d/test-suite $programs/cost-service $staging_url"
        "smoke_test_staging=$staging_check $expected"
        "smoke_test_production=$production_check $expected"
        "deploy_staging=$staging_check --expect-flag off"
        "deploy_production=$production_check --expect-flag off"
        "deploy_ui_staging=$staging_check --expect-flag on"
        "deploy_ui_production=$production_check --expect-flag on"
        undeploy_staging=true undeploy_production=true
        undeploy_ui_staging=true undeploy_ui_production=true
        "support_tickets=echo 0"
        # Deal types that the audit of generated deals finds beyond the built-in aliases.
        "type_aliases=('joint_venture', 'acquisition'), ('lbo', 'acquisition'), ('recap', 'acquisition'), ('tbd', 'acquisition')"
        "postgres_bin=$ROLLBOOK_PG_BIN/"
        "backup_directory=$demo_dir/backups"
        "archive_directory=$demo_dir/archive"
        "notices_file=$demo_dir/notices.jsonl"
    )
    if [ -n "$model" ]; then
        # Files are named relative to the runbook.
        parameters+=("model=../${model#"$repo/"}")
    fi
    open_rollout production "${parameters[@]}"
}

tell_commands() {
    cat <<TEXT
  With everything running (tools/demo --keep) and ROLLBOOK_SERVER=$rollbook_url:
    the history, event by event    $programs/rollbook log $1
    the review, as a document      $programs/rollbook report $1
    the state at an earlier point  $programs/rollbook replay --at SEQUENCE $1
    instant rollback (flag only)   $programs/rollbook rollback flags $1 --reason "…" --as dora
    full rollback                  $programs/rollbook rollback full $1 --reason "…" --as dora
  Later, on the same ledger        $programs/rollbook up --data-dir $demo_dir/rollbook
TEXT
}
