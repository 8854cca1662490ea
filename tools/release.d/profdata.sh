# shellcheck shell=bash
# llvm-profdata, which merges the recorded profiles: rustup's for this compiler, otherwise Debian's.

# The Debian 12 package that reads the profile format of the pinned compiler.
profdata_package=llvm-19

# Sets profdata; fails if there is none.
look_for_profdata() {
    local candidate
    for candidate in "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" \
        "/usr/lib/$profdata_package/bin/llvm-profdata" "$tools_dir/$profdata_package/usr/lib/$profdata_package/bin/llvm-profdata"; do
        if "$candidate" merge --version >/dev/null 2>&1; then
            profdata=$candidate
            return
        fi
    done
    return 1
}

# Sets profdata; installs Debian's if there is none.
find_profdata() {
    look_for_profdata && return
    local by_hand='rustup component add llvm-tools'
    have_apt || missing "llvm-profdata (and this is not Debian)" "$by_hand"
    say "installing Debian's $profdata_package (for llvm-profdata)"
    if is_root; then
        system_install "$profdata_package" || missing "Debian's $profdata_package" "$by_hand"
    else
        unpack_packages "$tools_dir/$profdata_package" "$profdata_package" || missing "Debian's $profdata_package" "$by_hand"
    fi
    look_for_profdata || missing "llvm-profdata (installed, but it does not run)" "$by_hand"
}
