//! A library that panics at a damaged file says no more than that it is damaged: it must not end the process as a fault of
//! Firemain's own would.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is waited for. The hook of the binary asks.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Does what may panic; an error is what was said then. What it has changed is not to be used after that.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it is damaged").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_waited_for_no_longer() {
        assert_eq!(guarded(is_guarded), Ok(true));
        assert_eq!(guarded(|| panic!("a test says {}", 5)), Err::<(), _>("a test says 5".to_owned()));
        assert_eq!(guarded(|| panic!("so")), Err::<(), _>("so".to_owned()));
        assert!(!is_guarded());
    }
}
