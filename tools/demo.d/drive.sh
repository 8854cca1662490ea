# shellcheck shell=bash disable=SC2154
# Drives a rollout as its people would: completes manual steps, signs gates, waits.

# Time limit for one rollout, in seconds.
drive_timeout_s=${DEMO_TIMEOUT_S:-600}

say() { printf 'demo: %s\n' "$*"; }
section() { printf '\n── %s\n' "$*"; }
field() { python3 "$repo/tools/demo.d/read.py" field "$1"; }
read_status() { python3 "$repo/tools/demo.d/read.py" "$1" <"$demo_dir/status.json"; }

# moment NAME ROLLOUT [STEP|GATE] : runs the program in DEMO_MOMENTS, if any, at a point where people look at the
# rollout, and waits for it: opened, manual and gate (before they are answered), watching, ended.
moment() { [ -z "${DEMO_MOMENTS:-}" ] || "$DEMO_MOMENTS" "$@" </dev/null; }

# The health of both services, as one JSON object.
services_now() {
    printf '{"staging": %s, "production": %s}\n' "$(fetch "$staging_url/health")" "$(fetch "$production_url/health")"
}

# drive ROLLOUT : returns when the rollout is closed (outcome is set) or when it is blocked and no
# signature or checklist can unblock it (outcome is empty, stuck says why).
drive() {
    local rollout=$1 started=$SECONDS what name who acted still=0
    outcome='' stuck=''
    while true; do
        if ((SECONDS - started > drive_timeout_s)); then
            say "the rollout did not end within $drive_timeout_s s (DEMO_TIMEOUT_S)" >&2
            return 7
        fi
        status_json "$rollout" >"$demo_dir/status.json"
        acted='' stuck=''
        while read -r what name who; do
            case $what in
                closed)
                    outcome=$name
                    return
                    ;;
                watching) moment watching "$rollout" "$name" ;;
                manual)
                    moment manual "$rollout" "$name"
                    answer_checklist "$rollout" "$name" "$who"
                    acted=1
                    ;;
                gate)
                    moment gate "$rollout" "$name"
                    sign "$rollout" "$name" "$who"
                    acted=1
                    ;;
                stuck) stuck="$name $who" ;;
            esac
        done < <(read_status pending)
        # It must stay blocked for a while: between two steps nothing runs for a moment.
        if [ -n "$stuck" ] && [ -z "$acted" ]; then
            still=$((still + 1))
            ((still < 10)) || return 0
        else
            still=0
        fi
        sleep 0.3
    done
}

# answer_checklist ROLLOUT STEP PERSON,PERSON : as the operator if she may, otherwise as the first who may.
answer_checklist() {
    local person
    for person in "$operator" ${3//,/ }; do
        case ",$3," in
            *",$person,"*)
                section "step $2 waits for a person: $person answers its checklist"
                complete_step "$1" "$2" "$person"
                return
                ;;
        esac
    done
    say "nobody of $3 can complete step $2" >&2
    return 1
}

# sign ROLLOUT GATE PERSON,PERSON : each person who can sign does; a refusal is shown, and ends the
# demo only if nobody could sign.
sign() {
    local person signed=''
    section "gate $2 waits for signatures that $3 can give"
    for person in "${people[@]}"; do
        case ",$3," in
            *",$person,"*) ;;
            *) continue ;;
        esac
        if approve "$1" "$2" "$person"; then
            signed=1
        fi
    done
    [ -n "$signed" ] || { say "none of ${people[*]} could sign gate $2" >&2; return 1; }
}
