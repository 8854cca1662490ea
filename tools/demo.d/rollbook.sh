# shellcheck shell=bash
# Every rollbook command that the demo types, in one place.

# The demo's people. alice operates and answers checklists, so she may not sign those gates herself.
operator=alice
people=(alice bob dora pat)

rollbook() { "$programs/rollbook" "$@"; }

generate_deals() { rollbook deals generate --database "$1" --count "$2" --seed "$3"; }

audit() { rollbook audit --database "$1" "${@:2}"; }

# open_rollout ENVIRONMENT NAME=VALUE... : sets rollout.
open_rollout() {
    local environment=$1 parameter arguments=()
    shift
    for parameter in "$@"; do
        arguments+=(--param "$parameter")
    done
    rollout=$(rollbook open "$repo/runbooks/deal-type-awareness.yaml" --environment "$environment" \
        "${arguments[@]}" --as "$operator" --json | field rollout)
    say "$operator opened rollout $rollout"
    rollbook start "$rollout" --as "$operator"
}

status_json() { rollbook status "$1" --json; }

# complete_step ROLLOUT STEP : answers every checklist item with pass; the evidence is what both
# services say about themselves at this moment.
complete_step() {
    local evidence=$demo_dir/evidence/$2.json
    services_now >"$evidence"
    rollbook complete "$1" "$2" --all-pass --evidence "$evidence" \
        --note "Checked by the demo; the services' own health is attached." --as "$operator"
}

approve() { rollbook approve "$1" "$2" --as "$3"; }

roll_back_flags() { rollbook rollback "$1" --level flags --reason "$2" --as "$3"; }

flag_value() { rollbook flag get DEAL_TYPE_AWARENESS --environment "$1" --json | field value; }

take_snapshot() { rollbook snapshot take --database "$1" --awareness "$2" --output "$3" "${@:4}"; }

compare_snapshots() { rollbook compare --pre "$1" --post "$2" --tolerance 5; }
