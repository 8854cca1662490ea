# shellcheck shell=bash
# Messages of set-up scripts: one line per step on standard output, and one way to stop.

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# missing WHAT HOW... : says what is missing and the command that installs it, then stops.
missing() {
    printf '%s: missing: %s\n' "${0##*/}" "$1" >&2
    shift
    local how
    for how in "$@"; do printf '%s:   get it: %s\n' "${0##*/}" "$how" >&2; done
    exit 1
}
