//! The cause of a library's error. What wraps it says the same in more general words.

use std::error::Error;

/// Returns the innermost cause: of "error sending request", "client error (Connect)" and "Connection
/// refused" the last.
pub fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last
}
