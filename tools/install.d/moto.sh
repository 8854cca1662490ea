# shellcheck shell=bash
# moto, the S3 server that tests start, from pinned wheels (tools/moto.pin) into .tools/moto. It needs
# python3 when it runs; nothing is installed into the system's Python.

# Sets moto_lib, the PYTHONPATH it is found with. A new pin reinstalls.
install_moto() {
    local pin=$here/moto.pin target=$tools_dir/moto version pip
    version=$(sed -n 's/^moto==\([0-9.]*\).*/\1/p' "$pin")
    moto_lib=$target/lib
    if cmp -s "$pin" "$target/pin"; then
        say "moto $version is in $target"
        return
    fi
    command -v python3 >/dev/null ||
        missing "python3" "as root: apt-get install -y --no-install-recommends python3"
    say "downloading moto $version, an S3 server for tests (PyPI wheels, checked by SHA-256)"
    find_pip
    # --target takes the wheels into a directory of their own: no virtual environment is needed.
    mkdir "$scratch/moto"
    PIP_ROOT_USER_ACTION=ignore "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --requirement "$pin" --target "$scratch/moto/lib" ||
        missing "moto $version from PyPI (the reason is above)" \
            "allow https://pypi.org and https://files.pythonhosted.org, or point pip at a mirror (PIP_INDEX_URL), and repeat" \
            "the pin needs CPython 3.10 or later; this is $(python3 -V) on $(uname -sm)"
    PYTHONPATH=$scratch/moto/lib python3 -c 'import moto.server' ||
        missing "a moto that runs with $(python3 -V)" "report the lines above"
    cp "$pin" "$scratch/moto/pin"
    # A rename is atomic, so an interrupted installation leaves no half of it with a pin.
    rm -rf "$target"
    mv "$scratch/moto" "$target"
    say "installed moto $version in $target"
}
