# shellcheck shell=bash
# The training run: the programs' main work, on generated deals and a real PostgreSQL.

# Number of generated deals. Each is stored ten times, so that tables are read page by page.
training_deals=20000

# counted PROGRAM ARGS... : runs an instrumented program. Exit code 1 concerns the data, or a bar that
# an instrumented program misses, and is not a failure here.
counted() {
    LLVM_PROFILE_FILE=$scratch/counts/%m.profraw "$@" >"$scratch/said" 2>"$scratch/complaints" || [ $? -eq 1 ] || {
        cat "$scratch/complaints" >&2
        echo "release: the training stopped at: $*" >&2
        return 1
    }
}

# train BIN : trains the programs of a directory.
train() {
    local bin=$1 url column
    url=$("$repo/tools/postgres" start "$scratch/postgres")/postgres
    counted "$bin/rollbook" deals generate --count "$training_deals" --no-invalid-types --database "$url"
    for column in json jsonb; do
        "$ROLLBOOK_PG_BIN/psql" -q -v ON_ERROR_STOP=1 -v "column=$column" -f "$repo/tools/release.d/deals.sql" "$url"
        # Read by page, then by key as a fleet does.
        train_snapshots "$bin/rollbook" "$url"
        train_snapshots "$bin/rollbook" "$url" --tenant tenant-1
    done
    for bar in append_pipelined_ratio fold_ratio rebuild_ratio; do
        counted "$bin/rollbook-loadtest" bench --bar "$bar"
    done
}

# train_snapshots ROLLBOOK URL ARGS... : two snapshots and their comparison.
train_snapshots() {
    local rollbook=$1 objects=$scratch/objects before after
    shift
    rm -rf "$objects"
    counted "$rollbook" snapshot take --objects "$objects" --json --flag-off --database "$@"
    before=$(taken)
    counted "$rollbook" snapshot take --objects "$objects" --json --database "$@"
    after=$(taken)
    counted "$rollbook" compare "$before" "$after" --objects "$objects"
}

# The snapshot that was just taken.
taken() { python3 -c 'import json, sys; print(json.load(sys.stdin)["snapshot"])' <"$scratch/said"; }

stop_training() {
    [ ! -d "$scratch/postgres" ] || "$repo/tools/postgres" stop "$scratch/postgres" >/dev/null 2>&1 || true
}
