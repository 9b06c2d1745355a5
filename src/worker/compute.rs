//! Where decoding and encoding run.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::spawn_blocking;

/// Work that keeps a core busy for milliseconds or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// In threads of their own, so many at once.
    Threads(usize),
    /// In the task that waits for it: so that a simulation has one order of things only.
    Inline,
}

impl Compute {
    /// How much is worth doing at once.
    pub fn cores(self) -> usize {
        match self {
            Self::Threads(cores) => cores,
            Self::Inline => 1,
        }
    }

    /// Starts it, or prepares it to be done by whoever waits.
    pub fn start<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> BoxFuture<'static, T> {
        match self {
            Self::Threads(_) => {
                let running = spawn_blocking(work);
                async { running.await.expect("neither decoding nor encoding panics, whatever the bytes") }.boxed()
            }
            Self::Inline => async { work() }.boxed(),
        }
    }
}
