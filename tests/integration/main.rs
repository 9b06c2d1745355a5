//! Tests of the parts together: one binary, a module for each topic. They need Rust and nothing else.

mod commit;
mod faults;
mod s3;
