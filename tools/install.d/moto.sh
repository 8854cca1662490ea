# shellcheck shell=bash
# moto, the S3 server that tests start, from pinned wheels (tools/moto.pin). It needs python3 at run
# time.

runs_moto() {
    PYTHONPATH=$1 python3 -c 'import moto.server'
}

# Sets moto_lib, its PYTHONPATH.
install_moto() {
    local version
    version=$(sed -n 's/^moto==\([0-9.]*\).*/\1/p' "$here/moto.pin")
    install_wheels moto "moto $version, an S3 server for tests" runs_moto \
        "the pin needs CPython 3.10 or later; this is $(python3 -V 2>&1) on $(uname -sm)"
    # shellcheck disable=SC2034 # read by tools/install
    moto_lib=$tools_dir/moto/lib
}
