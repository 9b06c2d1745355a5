//! Every action of AWS that Firemain needs leave for, in one list, with the calls that it is for. `docs/configuration.md` shows
//! it as a table, and `terraform/tests/compare.py` holds the policies of the Terraform module against that table.
//!
//! Names are those of the Service Authorization Reference:
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>

/// An action, and on what it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// As a policy says it: `s3:GetObject`.
    pub name: &'static str,
    /// The resource, in words.
    pub on: &'static str,
    pub needed_by: &'static [Need],
    /// As the code calls it: methods of the SDK's clients and of `ObjectStore`, operations of Glue. None: another service
    /// of AWS calls it for us, as S3 calls KMS.
    pub calls: &'static [&'static str],
}

/// What needs an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Every worker.
    Run,
    /// A worker that polls; by fan-out only `--drain` beside other workers, whose shards it looks at so.
    Polling,
    FanOut,
    /// Fan-out by a consumer that is named and may have to be registered.
    Register,
    Catalog,
    Check,
    /// It asks the stream how far behind shards are, by polling in any mode.
    Status,
    /// Other commands that only look.
    Look,
    Replay,
    /// Commands that put onto a stream.
    ToStream,
}

impl Need {
    /// As the table says it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Run => "`run`",
            Self::Polling => "`run`, polling",
            Self::FanOut => "`run`, `fan_out`",
            Self::Register => "`run`, `consumer_name`",
            Self::Catalog => "`run`, `catalog.glue`",
            Self::Check => "`check`",
            Self::Status => "`status`",
            Self::Look => "`verify`, `inspect`",
            Self::Replay => "`replay`",
            Self::ToStream => "`replay --to-stream`, `generate --to-stream`",
        }
    }
}

const STREAM: &str = "the stream";
const STREAM_KEY: &str = "the stream's key";
const CONSUMER: &str = "the consumer";
const BUCKET: &str = "the bucket";
const OBJECTS: &str = "its objects";
const BUCKET_KEY: &str = "the bucket's key";
const TABLES: &str = "the catalogue, the database, its tables";
const DATABASE: &str = "the catalogue, the database";

use Need::{Catalog, Check, FanOut, Look, Polling, Register, Replay, Run, Status, ToStream};

const fn action(
    name: &'static str,
    on: &'static str,
    needed_by: &'static [Need],
    calls: &'static [&'static str],
) -> Action {
    Action { name, on, needed_by, calls }
}

/// All of them. `sts:GetCallerIdentity`, which `check` calls, needs nobody's leave.
#[rustfmt::skip]
pub const ACTIONS: &[Action] = &[
    action("kinesis:DescribeStreamSummary", STREAM, &[Run, Status, ToStream], &["describe_stream_summary"]),
    action("kinesis:ListShards", STREAM, &[Run], &["list_shards"]),
    action("kinesis:GetShardIterator", STREAM, &[Polling, Status], &["get_shard_iterator"]),
    action("kinesis:GetRecords", STREAM, &[Polling, Status], &["get_records"]),
    action("kinesis:DescribeStreamConsumer", CONSUMER, &[FanOut], &["describe_stream_consumer"]),
    action("kinesis:SubscribeToShard", CONSUMER, &[FanOut], &["subscribe_to_shard"]),
    action("kinesis:RegisterStreamConsumer", STREAM, &[Register], &["register_stream_consumer"]),
    action("kinesis:PutRecords", STREAM, &[ToStream], &["put_records"]),
    action("kms:Decrypt", STREAM_KEY, &[Run, Status], &[]),
    action("kms:GenerateDataKey", STREAM_KEY, &[ToStream], &[]),
    action("s3:ListBucket", BUCKET, &[Run, Status, Look, Replay], &["list", "list_with_offset", "head_bucket", "list_objects_v2"]),
    action("s3:GetObject", OBJECTS, &[Run, Status, Look, Replay], &["get", "get_opts", "copy"]),
    action("s3:PutObject", OBJECTS, &[Run, Replay], &["put_opts", "put_multipart_opts", "copy"]),
    action("s3:DeleteObject", OBJECTS, &[Run, Replay], &["delete"]),
    action("s3:AbortMultipartUpload", OBJECTS, &[Run, Replay], &["put_multipart_opts"]),
    action("kms:Decrypt", BUCKET_KEY, &[Run, Status, Look, Replay], &[]),
    action("kms:GenerateDataKey", BUCKET_KEY, &[Run, Replay], &[]),
    action("glue:GetTable", TABLES, &[Catalog], &["GetTable"]),
    action("glue:BatchCreatePartition", TABLES, &[Catalog], &["BatchCreatePartition"]),
    action("glue:GetDatabase", DATABASE, &[Check], &["GetDatabase"]),
    action("s3:GetBucketLocation", BUCKET, &[Check], &["get_bucket_location"]),
    action("s3:GetBucketOwnershipControls", BUCKET, &[Check], &["get_bucket_ownership_controls"]),
    action("s3:GetBucketPublicAccessBlock", BUCKET, &[Check], &["get_public_access_block"]),
    action("s3:GetBucketVersioning", BUCKET, &[Check], &["get_bucket_versioning"]),
    action("s3:GetEncryptionConfiguration", BUCKET, &[Check], &["get_bucket_encryption"]),
    action("s3:GetLifecycleConfiguration", BUCKET, &[Check], &["get_bucket_lifecycle_configuration"]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{read_dir, read_to_string};
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// Calls that need nobody's leave.
    const FREE: [&str; 1] = ["get_caller_identity"];

    /// The source, without what only tests are made of.
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                sources(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" && !name.contains("fixtures") {
                let text = read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_call_of_the_code_is_in_the_list_and_no_other() {
        let patterns = [
            r"(?:client|sts|s3|kinesis|subscriber\(\))\s*\.((?:[a-z0-9]+_)+[a-z0-9]+)\(\)",
            r"\bself\s*\.store\s*\.((?:get|put|list|delete|copy|head|rename)[a-z_]*)\(",
            r#"\.call(?:_of_tables)?\("([A-Z][A-Za-z]+)""#,
        ];
        let mut texts = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut texts);
        let called: BTreeSet<&str> = patterns
            .iter()
            .flat_map(|pattern| {
                let pattern = Regex::new(pattern).unwrap();
                texts.iter().flat_map(move |text| {
                    pattern.captures_iter(text).map(|found| found.get(1).unwrap().as_str()).collect::<Vec<_>>()
                })
            })
            .filter(|call| !FREE.contains(call) && !call.starts_with("is_"))
            .collect();
        let listed: BTreeSet<&str> = ACTIONS.iter().flat_map(|action| action.calls).copied().collect();
        assert_eq!(called, listed, "left: what the code calls, right: what ACTIONS says");
    }
}
