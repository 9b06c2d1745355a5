//! Every metric, in one list: its names, its unit, and what it says. `docs/metrics.md` is made from it.
//!
//! Names are those of Amazon Data Firehose where they mean the same:
//! <https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-metrics.html>

use super::measures::{Counter, Durations, Gauge, Labelled, Measure, Ratio, Sample};

/// What [`Metrics::store_errors`] are counted by.
pub const STORE_KINDS: [&str; 11] = [
    "throttled",
    "server",
    "timeout",
    "connection",
    "denied",
    "not_found",
    "conflict",
    "refused",
    "credentials",
    "disk_full",
    "other",
];
/// What [`Metrics::stream_errors`] are counted by.
pub const STREAM_KINDS: [&str; 7] =
    ["throttled", "server", "timeout", "connection", "denied", "refused", "credentials"];

/// What is known of a metric beside its value.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// In CloudWatch.
    pub name: &'static str,
    /// In Prometheus, without `firemain_` and without what its kind appends.
    pub prometheus: &'static str,
    /// In CloudWatch: `Count`, `Bytes`, `Seconds`, `Milliseconds` or `None`.
    pub unit: &'static str,
    /// As Prometheus calls it: `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it is counted by.
    pub label: Option<&'static str>,
    pub says: &'static str,
}

macro_rules! metrics {
    ($($field:ident: $kind:ident, $name:literal, $prometheus:literal, $unit:literal, $label:expr, $says:literal;)*) => {
        /// All metrics of a process.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $says] pub $field: $kind,)*
        }

        /// The list.
        pub const LIST: &[About] = &[$(About {
            name: $name,
            prometheus: $prometheus,
            unit: $unit,
            kind: <$kind as Measure>::KIND,
            label: $label,
            says: $says,
        },)*];

        impl Metrics {
            /// What each stands at, in the order of [`LIST`].
            pub fn samples(&self) -> Vec<(&'static About, Sample)> {
                let samples = [$(self.$field.sample(),)*];
                LIST.iter().zip(samples).collect()
            }
        }
    };
}

metrics! {
    records: Counter, "DeliveryToS3.Records", "delivery_to_s3_records", "Count", None,
        "Kinesis records that are committed: every event of them is a row or in a rejection, in objects that are durable.";
    bytes: Counter, "DeliveryToS3.Bytes", "delivery_to_s3_bytes", "Bytes", None,
        "Bytes of the objects that were published, as they are stored.";
    objects: Counter, "DeliveryToS3.ObjectCount", "delivery_to_s3_objects", "Count", None,
        "Objects that were published.";
    puts: Ratio, "DeliveryToS3.Success", "delivery_to_s3_puts", "None", None,
        "Puts of objects at their final keys that went well, of all: 1 is all of them. One that failed is tried again.";
    freshness: Gauge, "DeliveryToS3.DataFreshness", "delivery_to_s3_data_freshness_seconds", "Seconds", None,
        "Age of the oldest record that was read and is not visible in the lake yet, from its arrival on the stream. 0 when \
         there is none.";
    behind: Gauge, "KinesisMillisBehindLatest", "kinesis_millis_behind_latest", "Milliseconds", None,
        "How far the reading is behind the tip of the stream, of the shard that is furthest behind. Of one that does not \
         answer it grows with the time.";
    throttled: Counter, "ThrottledGetRecords", "throttled_get_records", "Count", None,
        "GetRecords and SubscribeToShard calls that were throttled.";
    stream_errors: Labelled, "KinesisErrors", "kinesis_errors", "Count", Some("Kind"),
        "Calls of Kinesis that failed and were tried again, or not, by what went wrong.";
    read_records: Counter, "DataReadFromKinesisStream.Records", "data_read_from_kinesis_stream_records", "Count", None,
        "Records read; those that are read again, after a restart or a takeover, once more.";
    read_bytes: Counter, "DataReadFromKinesisStream.Bytes", "data_read_from_kinesis_stream_bytes", "Bytes", None,
        "Bytes of their payloads, as they came.";
    decoded_bytes: Counter, "DecodedBytes", "decoded_bytes", "Bytes", None,
        "Bytes of the payloads that are committed, after inflation.";
    events: Counter, "Events", "events", "Count", None,
        "Log events that are committed as rows.";
    rejections: Labelled, "Rejections", "rejections", "Count", Some("Code"),
        "Rejections that are committed, by their code.";
    control: Counter, "ControlMessages", "control_messages", "Count", None,
        "Records that were control messages of CloudWatch Logs.";
    expired: Counter, "PositionsExpired", "positions_expired", "Count", None,
        "Positions that the stream had trimmed before they were read on from: each may be a loss.";
    commits: Durations, "CommitDuration", "commit_duration_seconds", "Milliseconds", None,
        "How long a flush took, from its beginning until it was committed: encode, stage, commit.";
    backlog: Gauge, "PackBacklog", "pack_backlog", "Count", None,
        "Packs of the group that are committed and not yet known to be published.";
    partitions: Gauge, "OpenPartitions", "open_partitions", "Count", None,
        "Partitions that have rows in the buffers.";
    buffered: Gauge, "BufferedBytes", "buffered_bytes", "Bytes", None,
        "Memory of rows and of objects that are not published yet, of the `flush.buffer_bytes` that there are.";
    shards: Gauge, "OwnedShards", "owned_shards", "Count", None,
        "Shards that this worker owns.";
    unregistered: Gauge, "UnregisteredPartitions", "unregistered_partitions", "Count", None,
        "Partitions that are in the lake and not yet known to the catalogue.";
    fenced: Counter, "Fenced", "fenced", "Count", None,
        "How often this process was taken for dead by another and started again as a new worker.";
    store_errors: Labelled, "S3Errors", "s3_errors", "Count", Some("Kind"),
        "Requests to the store that failed and were tried again, or not, by what went wrong.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_there_once() {
        for names in [
            LIST.iter().map(|about| about.name).collect::<Vec<_>>(),
            LIST.iter().map(|about| about.prometheus).collect(),
        ] {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), LIST.len());
        }
        let is_name =
            |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        assert!(LIST.iter().all(|about| is_name(about.prometheus)));
    }
}
