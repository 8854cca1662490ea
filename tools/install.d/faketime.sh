# shellcheck shell=bash
# libfaketime, which shifts the clock of a process, for `make storm`. Debian's package: installed by root, unpacked
# under .tools/faketime for other users. If it is unavailable everything else still works, and the storm says what it
# did not test.

find_faketime() {
    local candidate
    for candidate in /usr/lib/*/faketime/libfaketimeMT.so.1 "$tools_dir"/faketime/usr/lib/*/faketime/libfaketimeMT.so.1; do
        if [ -r "$candidate" ]; then
            faketime_lib=$candidate
            return
        fi
    done
    return 1
}

# Sets faketime_lib; empty if it is unavailable.
install_faketime() {
    faketime_lib=
    if find_faketime; then
        say "libfaketime is $faketime_lib"
        return
    fi
    if have_apt; then
        if is_root; then
            system_install libfaketime || true
        else
            unpack_packages "$scratch/faketime" libfaketime >"$scratch/apt.log" 2>&1 &&
                rm -rf "$tools_dir/faketime" && mv "$scratch/faketime" "$tools_dir/faketime"
        fi
    fi
    if find_faketime; then
        say "installed Debian's libfaketime, $faketime_lib"
    else
        faketime_lib=
        say "no libfaketime: storms will not shift clocks (as root: apt-get install libfaketime)"
    fi
}
