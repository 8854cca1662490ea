//! A process that runs commands of plans holds credentials, in its environment and in its memory,
//! and its commands run as the same user: what that user may read of it, they may read.

/// Closes this process's environment and memory to all but the superuser. Its children are as open
/// as ever once they run their own program. There is no core dump of it either.
///
/// Elsewhere than on Linux, which shows them as files, nothing is done.
#[cfg(target_os = "linux")]
pub(crate) fn close() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        crate::print::aside(format!(
            "commands of plans may read this process's environment: {error}"
        ));
    }
}

/// See above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn close() {}
