# shellcheck shell=bash disable=SC2154
# All rollbook commands of the demo.

# The demo's people. alice operates and answers checklists, so she may not sign those gates.
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
    rollout=$(rollbook open "$repo/runbooks/deal-type-awareness.yaml" --env "$environment" \
        "${arguments[@]}" --as "$operator" --json | field rollout)
    say "$operator opened rollout $rollout"
    moment opened "$rollout"
    rollbook start "$rollout" --as "$operator"
}

status_json() { rollbook status "$1" --json; }

# complete_step ROLLOUT STEP PERSON : answers every checklist item with pass; the evidence is the
# current health of both services.
complete_step() {
    local evidence=$demo_dir/evidence/$2.json
    services_now >"$evidence"
    rollbook complete "$2" "$1" --all-pass --evidence "$evidence" \
        --note "Checked by the demo; the services' own health is attached." --as "$3"
}

# approve ROLLOUT GATE PERSON : signs what the gate shows now, and prints it.
approve() {
    local seen
    rollbook gate "$2" "$1"
    seen=$(rollbook gate "$2" "$1" --digest)
    rollbook approve "$2" "$1" --as "$3" --seen "$seen"
}

roll_back_flags() { rollbook rollback flags "$1" --reason "$2" --as "$3"; }

flag_value() { rollbook flag get DEAL_TYPE_AWARENESS --env "$1" --json | field value; }

# The comparison of the last `compare` step, as recorded on the ledger.
show_comparison() { python3 "$repo/tools/demo.d/read.py" comparison <"$demo_dir/status.json"; }
