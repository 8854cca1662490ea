# shellcheck shell=bash
# What the installer tells the person: one line per step on standard output, and one way to stop.

say() { printf 'install: %s\n' "$*"; }

# missing WHAT HOW... : says what cannot be had and the command that gets it, then stops.
missing() {
    printf 'install: missing: %s\n' "$1" >&2
    shift
    printf 'install:   get it: %s\n' "$@" >&2
    exit 1
}
