# shellcheck shell=bash
# What both demos share: the same stage, the same rollout, with or without a faulty model.

# Deals in each database.
deals_count=5000

# set_stage MODEL : databases, ledger and both services. MODEL is the cost model that the services
# and the snapshots of the rollout compute with; empty is the built-in one.
set_stage() {
    model=$1
    start_databases "$deals_count"
    choose_addresses
    # The runbook's sources refer to these variables; URLs never stand in the plan.
    export DEALS_STAGING_URL=$staging_db DEALS_PRODUCTION_URL=$production_db
    export COST_SERVICE_STAGING_URL=$staging_url COST_SERVICE_PRODUCTION_URL=$production_url
    # Where every rollbook command finds the server.
    export ROLLBOOK_SERVER=$rollbook_url
    start_rollbook
    start_cost_service staging "$staging_url" "$staging_db" "$model"
    start_cost_service production "$production_url" "$production_db" "$model"
}

# Watches of hours become seconds; the commands that name a server become local equivalents.
open_demo_rollout() {
    local parameters=(
        database_watch=4s code_watch=4s ui_watch=4s sample_every=1s
        "smoke_test_staging=$programs/cost-service check --url $staging_url"
        "smoke_test_production=$programs/cost-service check --url $production_url"
    )
    if [ -n "$model" ]; then
        parameters+=("model=$model")
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
