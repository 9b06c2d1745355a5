//! Firemain takes CloudWatch Logs off a Kinesis data stream and delivers them to S3, exactly once.
//!
//! The way of the data, and of these modules:
//!
//! ```text
//! source -> decode -> partition -> buffer -> encode -> stage -> commit -> publish
//! ```

pub mod aws;
pub mod broken;
pub mod buffer;
pub mod catalog;
pub mod check;
pub mod cli;
pub mod clock;
pub mod commit;
pub mod config;
pub mod decode;
pub mod encode;
pub mod event;
pub mod generate;
pub mod gzip;
pub mod inspect;
pub mod iso8601;
pub mod mask;
pub mod partition;
pub mod position;
pub mod replay;
pub mod retry;
pub mod service;
pub mod source;
pub mod status;
pub mod store;
pub mod table;
pub mod telemetry;
pub mod verify;
pub mod worker;
