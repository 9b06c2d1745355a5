//! The binary: see the library for everything.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads its options from, next to the variable `_RJEM_MALLOC_CONF`.
///
/// Rows are allocated on one thread and freed on another, and each arena keeps what was freed in it for a while: few
/// arenas hold less. Measured in `docs/decisions/0005-allocator.md`.
#[allow(unsafe_code, reason = "the only way to give a program's own defaults; it is a C string, and read only")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8; 10] = b"narenas:2\0";

fn main() -> ExitCode {
    end_on_panic();
    firemain::cli::main()
}

/// A worker that has lost one of its tasks must not go on as if it lived: nobody would take over what that task did. Only
/// who reads a file that may be damaged waits for a panic.
fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if firemain::inspect::guard::is_guarded() {
            return;
        }
        tell(panic);
        // As when the main thread panics.
        std::process::exit(101);
    }));
}
