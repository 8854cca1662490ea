# shellcheck shell=bash
# The demo's processes: PostgreSQL, rollbook and two cost services. Each gets its own port on the
# loopback address and is stopped at the end, however the demo ends.

programs=${CARGO_TARGET_DIR:-$repo/target}/debug
demo_dir=$repo/.demo
pids=()

# free_ports COUNT : all are held until the last is known, so that they differ.
free_ports() {
    python3 - "$1" <<'PYTHON'
import socket
import sys

held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))
PYTHON
}

# until_answers WHAT URL LOG : waits, bounded, for HTTP 200.
until_answers() {
    local what=$1 url=$2 log=$3 try
    for ((try = 0; try < 300; try++)); do
        if answers "$url"; then
            return
        fi
        sleep 0.1
    done
    printf 'demo: %s does not answer at %s; the end of its log %s:\n' "$what" "$url" "$log" >&2
    tail -n 30 "$log" >&2 || true
    exit 7
}

# Python is required anyway; curl is not on every machine.
answers() {
    python3 - "$1" <<'PYTHON' 2>/dev/null
import sys
import urllib.request
urllib.request.urlopen(sys.argv[1], timeout=2).read()
PYTHON
}

fetch() {
    python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"
}

# background NAME COMMAND... : starts a process with its output in .demo/NAME.log.
background() {
    local name=$1
    shift
    "$@" >"$demo_dir/$name.log" 2>&1 &
    pids+=("$!")
}

stop_everything() {
    local pid try
    trap '' INT TERM
    # A process depends on those started before it.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill -TERM "$pid" 2>/dev/null || continue
        for ((try = 0; try < 150; try++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$pid" 2>/dev/null; then
            printf 'demo: process %s did not stop within 15 s, killed\n' "$pid" >&2
            kill -KILL "$pid" 2>/dev/null || true
        fi
        wait "$pid" 2>/dev/null || true
    done
    pids=()
    "$repo/tools/postgres" stop "$demo_dir/postgres" || true
}

# A killed demo leaves a cluster behind, and its old ledger must not be continued.
clean_start() {
    "$repo/tools/postgres" stop "$demo_dir/postgres"
    rm -rf "$demo_dir"
    mkdir -p "$demo_dir/evidence"
    trap stop_everything EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# start_databases COUNT : sets staging_db, production_db and rehearsal_db, which stays empty; the
# deals differ by seed.
start_databases() {
    local count=$1 server
    server=$("$repo/tools/postgres" start "$demo_dir/postgres")
    staging_db=$server/staging
    production_db=$server/production
    rehearsal_db=$server/rehearsal
    say "PostgreSQL runs at $server (throw-away, in $demo_dir/postgres)"
    create_database "$server" staging
    create_database "$server" production
    create_database "$server" rehearsal
    generate_deals "$staging_db" "$count" 7
    generate_deals "$production_db" "$count" 42
}

create_database() {
    "$ROLLBOOK_PG_BIN/psql" --quiet --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$1/postgres" \
        --command "CREATE DATABASE $2"
}

# choose_addresses : sets rollbook_url, staging_url and production_url before the first process
# starts, because the worker inside rollbook reads the sources' URLs from its environment. If another
# process takes one of the ports meanwhile, the demo ends and shows the log.
choose_addresses() {
    local rollbook staging production
    read -r rollbook staging production < <(free_ports 3)
    rollbook_url=http://127.0.0.1:$rollbook
    staging_url=http://127.0.0.1:$staging
    production_url=http://127.0.0.1:$production
}

start_rollbook() {
    background rollbook "$programs/rollbook" up --data-dir "$demo_dir/rollbook" --listen "${rollbook_url#http://}"
    until_answers rollbook "$rollbook_url/health" "$demo_dir/rollbook.log"
    say "rollbook runs at $rollbook_url (ledger and views in $demo_dir/rollbook)"
}

# start_cost_service ENVIRONMENT URL DATABASE MODEL : an empty MODEL is the built-in one.
start_cost_service() {
    local environment=$1 url=$2 database=$3 model=$4 arguments
    arguments=(serve --listen "${url#http://}" --flags "$rollbook_url" --environment "$environment")
    if [ -n "$model" ]; then
        arguments+=(--model "$model")
    fi
    # Passed by environment variable: a command line is visible to every user of the machine.
    COST_SERVICE_DATABASE=$database background "cost-service-$environment" "$programs/cost-service" "${arguments[@]}"
    until_answers "the $environment cost service" "$url/health" "$demo_dir/cost-service-$environment.log"
    say "the $environment cost service runs at $url"
}
