//! The commit protocol under faults: what `docs/protocol.md` promises, shown on the real code and a store in memory.

mod effects;
mod faulty;
mod numbers;
mod stream;
mod takeover;
pub mod world;

pub use stream::{GROUP, HEARTBEAT, LEASE, Worker};
