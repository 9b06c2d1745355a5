//! Makes flushes durable and visible, exactly once, with an object store alone.
//!
//! A flush is staged as one [`pack`], committed by one [`snapshot`] in the [`log`] (the positions move and the pack is
//! listed, in one atomic step), then published object by object and cleared. `docs/protocol.md` has it call by call.
//!
//! Read [`snapshot`] for what is shared, [`change`] for what may change in it and [`share`] for who is to own what, [`member`] for how a change is made, [`group`] for what a worker does.

pub mod change;
pub mod group;
pub mod log;
pub mod member;
pub mod pack;
pub mod peers;
pub mod publish;
pub mod share;
pub mod snapshot;
pub mod storage;
pub mod tables;
