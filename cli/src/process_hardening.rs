//! A process that runs commands of plans holds credentials in its environment and memory, and its
//! commands run as the same user: they can read whatever that user can read of it.

/// Closes this process's environment and memory to all but the superuser, and disables its core
/// dumps. Children are unaffected once they execute their own program.
///
/// Does nothing on systems other than Linux, which shows them as files.
#[cfg(target_os = "linux")]
pub(crate) fn close() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        crate::print::note(format!(
            "commands of plans may read this process's environment: {error}"
        ));
    }
}

/// Does nothing on other systems.
#[cfg(not(target_os = "linux"))]
pub(crate) fn close() {}
