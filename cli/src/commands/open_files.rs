//! How many files this process may open: connections, children and evidence all need some.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::print;

/// Enough for thousands of connections beside the work. Not more: programs that are started inherit
/// it, and some go through every number up to it.
const WANTED: u64 = 65_536;

/// Raises the limit as far as it is wanted and allowed; returns what holds.
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
            print::aside(format!("the limit of open files stays at {soft}: {error}"));
            soft
        }
    }
}
