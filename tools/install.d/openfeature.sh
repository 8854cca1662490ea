# shellcheck shell=bash
# OpenFeature's SDKs with their OFREP providers, which tests run against the server: for Python from pinned
# wheels (tools/openfeature.pin), for JavaScript by npm from examples/ofrep/package-lock.json.

runs_openfeature() {
    PYTHONPATH=$1 python3 -c 'import openfeature.contrib.provider.ofrep'
}

# Sets openfeature_lib, the PYTHONPATH of the one, and openfeature_modules, the node_modules of the other.
install_openfeature() {
    local version lock=$here/../examples/ofrep/package-lock.json target=$tools_dir/openfeature-js npm
    version=$(sed -n 's/^openfeature-sdk==\([0-9.]*\).*/\1/p' "$here/openfeature.pin")
    install_wheels openfeature "OpenFeature $version for Python, for tests of flags" runs_openfeature \
        "the pin needs CPython 3.10 or later; this is $(python3 -V 2>&1) on $(uname -sm)"
    # shellcheck disable=SC2034 # read by tools/install
    openfeature_lib=$tools_dir/openfeature/lib
    openfeature_modules=$target/node_modules
    if cmp -s "$lock" "$target/package-lock.json"; then
        say "OpenFeature for JavaScript, for tests of flags: in $target"
        return
    fi
    say "downloading OpenFeature for JavaScript (npm packages, checked by SHA-512)"
    find_npm "$node"
    mkdir "$scratch/openfeature-js"
    cp "$lock" "${lock%-lock.json}.json" "$scratch/openfeature-js"
    # Scripts of packages are not run.
    (cd "$scratch/openfeature-js" && "${npm[@]}" ci --ignore-scripts --no-audit --no-fund >"$scratch/npm.log" 2>&1) || {
        cat "$scratch/npm.log" >&2
        missing "OpenFeature for JavaScript from npm (the reason is above)" \
            "let npm reach its registry, or point it at a mirror (npm_config_registry), and repeat"
    }
    # A rename is atomic, so an interrupted installation is never mistaken for a complete one.
    rm -rf "$target"
    mv "$scratch/openfeature-js" "$target"
    say "installed OpenFeature for JavaScript in $openfeature_modules"
}
