# shellcheck shell=bash
# Debian packages: installed by root, or fetched without root and without touching the system (with
# separate package lists and archives, unpacked where the caller says).

# Whether the effective user is root, so that apt-get may install.
is_root() { [ "$(id -u)" -eq 0 ]; }

have_apt() { command -v apt-get >/dev/null && command -v dpkg >/dev/null; }

# system_install PACKAGE... : installs with apt-get, quietly; its output is shown if it fails.
system_install() {
    export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"; } >"$scratch/apt.log" 2>&1 ||
        { cat "$scratch/apt.log" >&2; return 1; }
}

# private_apt ARGS... : apt-get with lists and archives under the scratch directory. The system's
# sources and keyrings are read, so packages are verified as usual; dpkg's lock is not taken, because
# nothing is installed.
private_apt() {
    mkdir -p "$scratch/apt/lists/partial" "$scratch/apt/archives/partial"
    apt-get -qq \
        -o Debug::NoLocking=1 \
        -o APT::Sandbox::User="$(id -un)" \
        -o Dir::State::lists="$scratch/apt/lists" \
        -o Dir::Cache="$scratch/apt" \
        -o Dir::Cache::archives="$scratch/apt/archives" \
        "$@"
}

# unpack_packages DIR PACKAGE... : downloads the packages and their missing dependencies, and unpacks
# them under DIR.
unpack_packages() {
    local target=$1 deb
    shift
    private_apt update || return 1
    private_apt install --download-only -y --no-install-recommends "$@" || return 1
    mkdir -p "$target"
    for deb in "$scratch"/apt/archives/*.deb; do
        [ -e "$deb" ] || return 1
        dpkg -x "$deb" "$target" || return 1
    done
    rm -f "$scratch"/apt/archives/*.deb
}
