//! What the test binaries share.
#![allow(dead_code, unused_imports, reason = "each binary uses a part of it")]

pub mod faults;
pub mod invariants;
