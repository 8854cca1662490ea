# shellcheck shell=bash
# What a script of set-up tells the person: one line per step on standard output, and one way to stop.

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# missing WHAT HOW... : says what cannot be had and the command that gets it, then stops.
missing() {
    printf '%s: missing: %s\n' "${0##*/}" "$1" >&2
    shift
    local how
    for how in "$@"; do printf '%s:   get it: %s\n' "${0##*/}" "$how" >&2; done
    exit 1
}
