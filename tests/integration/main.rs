//! Tests of the parts together: one binary, a module for each topic. They need Rust and nothing else.

mod binary;
mod commit;
mod delivery;
mod faults;
mod kinesis;
mod s3;
