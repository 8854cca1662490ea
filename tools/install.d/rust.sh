# shellcheck shell=bash
# Checks for Rust and the C compiler. It does not install Rust: rustup belongs to the user, not to a repository.

# The version in rust-toolchain.toml; with rustup, running cargo inside the repository fetches it.
check_rust() {
    local wanted found
    wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$here/../rust-toolchain.toml")
    if ! command -v cargo >/dev/null; then
        missing "cargo (Rust $wanted)" \
            "https://rustup.rs, then: rustup toolchain install $wanted --profile minimal -c clippy -c rustfmt" \
            "if it is installed already, put it on PATH: . \"\$HOME/.cargo/env\""
    fi
    found=$(cd "$here" && cargo --version | cut -d' ' -f2) ||
        missing "a working cargo for Rust $wanted" "rustup toolchain install $wanted --profile minimal -c clippy -c rustfmt"
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" != "$wanted" ]; then
        missing "Rust $wanted or later (cargo $found is older and is not managed by rustup)" \
            "https://rustup.rs, which reads rust-toolchain.toml"
    fi
    say "rust $found"
    check_compiler
}

# Rust links with cc, which also builds the bundled SQLite, zstd and ring.
check_compiler() {
    if command -v cc >/dev/null; then
        return
    fi
    if is_root && have_apt; then
        say "installing Debian's gcc and libc6-dev (Rust links with cc) with apt-get"
        system_install gcc libc6-dev
    fi
    command -v cc >/dev/null || missing "a C compiler and linker (cc)" \
        "as root: apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev"
}
