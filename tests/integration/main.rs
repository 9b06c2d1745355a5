//! Tests of the parts together: one binary, a module for each topic. They need Rust and nothing else.

mod away;
mod binary;
mod check;
mod commit;
mod delivery;
mod inspect;
mod kinesis;
mod operate;
mod replay;
mod s3;
mod shell;
#[path = "../support/mod.rs"]
mod support;
mod telling;
