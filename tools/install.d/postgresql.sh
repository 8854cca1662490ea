# shellcheck shell=bash
# PostgreSQL 13 or later: the system's, otherwise Debian's packages (installed by root, unpacked under
# .tools/postgresql for other users).

pg_oldest=13

# pg_usable DIR : whether DIR contains server programs of a supported version.
pg_usable() {
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
    local major
    major=$("$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
    [ -n "$major" ] && [ "$major" -ge "$pg_oldest" ]
}

# Sets pg_bin to the newest usable server; fails if there is none.
find_postgresql() {
    local candidate candidates=()
    if [ -n "${ROLLBOOK_PG_BIN:-}" ]; then
        pg_usable "$ROLLBOOK_PG_BIN" || return 1
        pg_bin=$ROLLBOOK_PG_BIN
        return
    fi
    mapfile -t candidates < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
    candidates+=("$tools_dir/postgresql/bin")
    if command -v postgres >/dev/null; then
        candidates+=("$(dirname "$(command -v postgres)")")
    fi
    for candidate in "${candidates[@]}"; do
        if pg_usable "$candidate"; then
            pg_bin=$candidate
            return
        fi
    done
    return 1
}

pg_by_hand='as root: apt-get update && apt-get install -y --no-install-recommends postgresql, then repeat'

# Sets pg_bin.
install_postgresql() {
    if find_postgresql; then
        say "PostgreSQL programs are in $pg_bin"
        return
    fi
    if [ -n "${ROLLBOOK_PG_BIN:-}" ]; then
        missing "PostgreSQL $pg_oldest or later in ROLLBOOK_PG_BIN=$ROLLBOOK_PG_BIN" "$pg_by_hand, with ROLLBOOK_PG_BIN unset"
    fi
    have_apt || missing "PostgreSQL $pg_oldest or later (and this is not Debian)" \
        "install your system's PostgreSQL server package and set ROLLBOOK_PG_BIN to the directory with initdb and postgres"
    if is_root; then
        install_postgresql_system
    else
        install_postgresql_aside
    fi
    find_postgresql || missing "PostgreSQL $pg_oldest or later (installed, but it does not run)" "$pg_by_hand"
    say "installed PostgreSQL, programs in $pg_bin"
}

# By default Debian's package creates and starts a cluster. This setting prevents it; it is written
# only if the administrator has none.
install_postgresql_system() {
    local conf=/etc/postgresql-common/createcluster.conf
    say "installing Debian's postgresql with apt-get (programs only, no cluster is created or started)"
    if [ ! -e "$conf" ]; then
        mkdir -p "$(dirname "$conf")"
        echo 'create_main_cluster = false' >"$conf"
        say "wrote $conf: create_main_cluster = false"
    fi
    system_install postgresql ||
        missing "PostgreSQL (apt-get failed, its output is above)" "$pg_by_hand"
}

# The programs find their data files relative to themselves; only the library path must be set.
install_postgresql_aside() {
    local root=$tools_dir/postgresql bindir libs program
    say "not root: unpacking Debian's PostgreSQL packages into $root"
    rm -rf "$root"
    unpack_packages "$scratch/postgresql" postgresql >"$scratch/apt.log" 2>&1 ||
        { cat "$scratch/apt.log" >&2; missing "PostgreSQL (the packages cannot be downloaded, the reason is above)" "$pg_by_hand"; }
    bindir=$(cd "$scratch/postgresql" && printf '%s\n' usr/lib/postgresql/*/bin | sort -V | tail -n1)
    libs=$(cd "$scratch/postgresql" && find . -name 'lib*.so.*' -printf '%h\n' | sed 's|^\./||' | grep -v postgresql | sort -u)
    mkdir "$scratch/postgresql/bin"
    for program in initdb postgres pg_ctl pg_isready pg_dump psql createdb dropdb; do
        [ -e "$scratch/postgresql/$bindir/$program" ] || continue
        {
            printf '#!/bin/sh\n# Runs the unpacked %s with the libraries unpacked beside it.\n' "$program"
            printf 'root=$(cd "$(dirname "$0")/.." && pwd)\n'
            printf 'for dir in %s; do\n' "$(echo "$libs" | tr '\n' ' ')"
            printf '    LD_LIBRARY_PATH=$root/$dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\ndone\n'
            printf 'export LD_LIBRARY_PATH\nexec "$root/%s/%s" "$@"\n' "$bindir" "$program"
        } >"$scratch/postgresql/bin/$program"
        chmod 755 "$scratch/postgresql/bin/$program"
    done
    mv "$scratch/postgresql" "$root"
}
