//! The limit of open files: connections, children and evidence all need some.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::print;

/// Enough for thousands of connections besides the work. No more, because child programs inherit
/// it, and some iterate over every number up to it.
const WANTED: u64 = 65_536;

/// Raises the limit as far as wanted and allowed; returns the resulting limit.
pub(super) fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1_024;
    };
    let wanted = hard.min(WANTED);
    if wanted <= soft {
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(error) => {
            print::note(format!("the limit of open files stays at {soft}: {error}"));
            soft
        }
    }
}
