//! The bucket: that it is there, whose it is, and settings that are easily forgotten. The service needs none of the
//! actions that the settings are asked with, so that a refusal of one is no failure.

use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, LifecycleRule, ObjectOwnership, PublicAccessBlockConfiguration,
    ServerSideEncryption, ServerSideEncryptionRule, TransitionStorageClass,
};

use super::aws::{Clocks, Miss, NO_CREDENTIALS, Settings, ask};
use super::{Finding, Topic};
use crate::aws::Aws;

/// The actions that the settings are asked with, beside those that the service needs.
pub const LOCATION: &str = "s3:GetBucketLocation";
pub const OWNERSHIP: &str = "s3:GetBucketOwnershipControls";
pub const PUBLIC: &str = "s3:GetBucketPublicAccessBlock";
pub const ENCRYPTION: &str = "s3:GetEncryptionConfiguration";
pub const VERSIONING: &str = "s3:GetBucketVersioning";
pub const LIFECYCLE: &str = "s3:GetLifecycleConfiguration";

/// `by_name`: the source is a stream that is not given by its ARN, and so in the region of the settings.
pub async fn check(bucket: &str, prefix: &str, by_name: bool, settings: &Settings, clocks: &Clocks, topic: Topic) {
    let Settings::Found(found) = settings else {
        topic.tell("bucket", Finding::not_checked(NO_CREDENTIALS));
        return;
    };
    let (aws, bucket) = (&found.aws, bucket.to_owned());
    let client = client(aws, clocks);
    let lake = Lake::below(prefix);
    let (reached, region) = reached(&client, &bucket, &lake).await;
    let there = there(&bucket, reached.as_ref().map(drop), region.as_deref(), &aws.region, by_name);
    topic.tell("bucket", there.finding);
    if !there.is_there {
        let settings = "its owner, public access, encryption, versioning and lifecycle: the bucket can't be asked";
        topic.tell("bucket settings", Finding::not_checked(settings));
        return;
    }
    let owner = match reached {
        Ok(by) => owner(&client, &bucket, &lake, by, found.account().await).await,
        // What it would be asked by is denied as it is.
        Err(_) => Finding::not_checked("to compare it, allow s3:ListBucket"),
    };
    topic.tell("bucket owner", owner);
    let answer = ask(client.get_bucket_ownership_controls().bucket(&bucket).send()).await;
    let answer = answer.map(|answer| {
        let rules = answer.ownership_controls.map(|controls| controls.rules).unwrap_or_default();
        rules.into_iter().next().map(|rule| rule.object_ownership)
    });
    topic.tell("object ownership", told(or_none(answer, "OwnershipControlsNotFoundError"), OWNERSHIP, ownership));
    let answer = ask(client.get_public_access_block().bucket(&bucket).send()).await;
    let answer = answer.map(|answer| answer.public_access_block_configuration);
    topic.tell("public access", told(or_none(answer, "NoSuchPublicAccessBlockConfiguration"), PUBLIC, public));
    let answer = ask(client.get_bucket_encryption().bucket(&bucket).send()).await;
    let answer = answer.map(|answer| {
        let rules = answer.server_side_encryption_configuration.map(|found| found.rules).unwrap_or_default();
        rules.into_iter().next()
    });
    let answer = or_none(answer, "ServerSideEncryptionConfigurationNotFoundError");
    topic.tell("encryption", told(answer, ENCRYPTION, encryption));
    let rules = ask(client.get_bucket_lifecycle_configuration().bucket(&bucket).send()).await;
    let rules = rules.map(|answer| Some(answer.rules.unwrap_or_default()));
    let rules = or_none(rules, "NoSuchLifecycleConfiguration").map(Option::unwrap_or_default);
    let versioned = ask(client.get_bucket_versioning().bucket(&bucket).send()).await.map(|answer| answer.status);
    topic.tell("versioning", told(versioned, VERSIONING, |status| versioning(status, rules.as_deref().ok(), &lake)));
    match rules {
        Ok(rules) => lifecycle(&rules, &lake).into_iter().for_each(|finding| topic.tell("lifecycle", finding)),
        Err(miss) => topic.tell("lifecycle", unanswered(&miss, LIFECYCLE)),
    }
}

/// As the object store addresses the bucket: neither by FIPS nor by dual-stack endpoints, unless one is set.
fn client(aws: &Aws, clocks: &Clocks) -> Client {
    let config = aws_sdk_s3::config::Builder::from(&aws.sdk).use_fips(false).use_dual_stack(false);
    let config = config.force_path_style(aws.endpoint("S3").is_some()).retry_config(RetryConfig::standard());
    let config = config.interceptor(clocks.of("S3"));
    Client::from_conf(config.build())
}

/// By which call a bucket answers.
#[derive(Clone, Copy, Debug)]
enum By {
    Head,
    /// HeadBucket is refused to those who may list below a prefix alone, which the service gets by with.
    List,
}

/// Asks whether a bucket is there, and is that account's, if one is given. Returns the region too that it is said to be in.
async fn asked(
    client: &Client,
    bucket: &str,
    lake: &Lake,
    by: By,
    account: Option<&str>,
) -> Result<Option<String>, Miss> {
    let account = account.map(str::to_owned);
    match by {
        By::Head => {
            let head = client.head_bucket().bucket(bucket).set_expected_bucket_owner(account);
            ask(head.send()).await.map(|head| head.bucket_region)
        }
        By::List => {
            let list = client.list_objects_v2().bucket(bucket).prefix(&lake.state).max_keys(1);
            ask(list.set_expected_bucket_owner(account).send()).await.map(|_| None)
        }
    }
}

/// Whether the bucket answers, and the region that it is in.
async fn reached(client: &Client, bucket: &str, lake: &Lake) -> (Result<By, Miss>, Option<String>) {
    match asked(client, bucket, lake, By::Head, None).await {
        Ok(Some(region)) => (Ok(By::Head), Some(region)),
        Ok(None) => (Ok(By::Head), located(client, bucket).await),
        // It has no reason: an answer to HEAD has no body.
        Err(miss) if matches!(miss.status, Some(400 | 403)) => {
            (asked(client, bucket, lake, By::List, None).await.map(|_| By::List), miss.region)
        }
        Err(miss) => {
            let region = miss.region.clone();
            (Err(miss), region)
        }
    }
}

/// Where a bucket is, of a store that does not say so by the way.
async fn located(client: &Client, bucket: &str) -> Option<String> {
    let answer = ask(client.get_bucket_location().bucket(bucket).send()).await.ok()?;
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html>
    Some(match answer.location_constraint.as_ref().map_or("", |constraint| constraint.as_str()) {
        "" => "us-east-1".to_owned(),
        "EU" => "eu-west-1".to_owned(),
        region => region.to_owned(),
    })
}

/// Whether there is a bucket that can be asked more, and what is to be said of it.
#[derive(Debug, PartialEq, Eq)]
struct There {
    is_there: bool,
    finding: Finding,
}

/// Judges whether the bucket answers, and the region that it is in against ours.
fn there(bucket: &str, reached: Result<(), &Miss>, theirs: Option<&str>, ours: &str, by_name: bool) -> There {
    let wrong = |text: String| There { is_there: false, finding: Finding::failed(text) };
    if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
        let stream =
            if by_name { format!(", and name the stream by its ARN if it stays in {ours}") } else { String::new() };
        return wrong(format!(
            "{bucket} is in {theirs}, and the region of the settings is {ours}: set AWS_REGION={theirs}{stream}"
        ));
    }
    match reached {
        Ok(()) => {
            let region = match theirs {
                Some(region) => format!(", in {region}, as the settings say"),
                None => format!("; its region is not told, nor by {LOCATION}"),
            };
            There { is_there: true, finding: Finding::ok(format!("{bucket} is there{region}")) }
        }
        Err(miss) if miss.status == Some(404) => {
            wrong(format!("there is no bucket {bucket}: make it, or correct `destination`"))
        }
        Err(miss) if miss.status.is_some_and(|status| (300..400).contains(&status)) => {
            wrong(format!("{bucket} is in another region than {ours}: set AWS_REGION to it ({})", miss.text))
        }
        Err(miss) if miss.is_denied() => There {
            // Perhaps to this action alone.
            is_there: true,
            finding: Finding::failed(format!(
                "access to {bucket} is denied: allow s3:ListBucket on the bucket, by its own policy too if it is another \
                 account's ({})",
                miss.text
            )),
        },
        Err(miss) => wrong(format!("{bucket}: {}", miss.explained("s3:ListBucket"))),
    }
}

/// Asks whether the bucket is this account's, by the condition that it be on a call that is answered without.
async fn owner(client: &Client, bucket: &str, lake: &Lake, by: By, account: Option<&str>) -> Finding {
    let Some(account) = account else {
        return Finding::not_checked("whose the credentials are is not known, so that nothing can be compared");
    };
    owned(asked(client, bucket, lake, by, Some(account)).await.map(drop), account)
}

fn owned(answer: Result<(), Miss>, account: &str) -> Finding {
    match answer {
        Ok(()) => Finding::ok(format!("account {account}, as the credentials")),
        Err(miss) if miss.is_denied() => Finding::warning(format!(
            "it is not account {account}, which the credentials are of: check that the bucket is the one that is meant; its \
             own policy has to allow them what Firemain needs"
        )),
        Err(miss) => Finding::not_checked(miss.text),
    }
}

/// What a missing setting means, is judged like a setting.
fn or_none<T>(answer: Result<Option<T>, Miss>, absence: &str) -> Result<Option<T>, Miss> {
    answer.or_else(|miss| if miss.is_absence(absence) { Ok(None) } else { Err(miss) })
}

fn told<T>(answer: Result<T, Miss>, action: &str, judge: impl FnOnce(T) -> Finding) -> Finding {
    answer.map_or_else(|miss| unanswered(&miss, action), judge)
}

/// A setting that can't be looked at: the service does without.
fn unanswered(miss: &Miss, action: &str) -> Finding {
    if miss.is_denied() {
        return Finding::not_checked(format!("to look at it, allow {action}; the service does not need that"));
    }
    match miss.status {
        Some(405 | 501) => Finding::not_checked(format!("the store knows no such setting ({})", miss.text)),
        _ => Finding::not_checked(miss.explained(action)),
    }
}

fn ownership(ownership: Option<ObjectOwnership>) -> Finding {
    match ownership {
        Some(ObjectOwnership::BucketOwnerEnforced) => Finding::ok("the bucket's owner owns all objects, ACLs are off"),
        other => {
            let now = other.as_ref().map_or("not set", ObjectOwnership::as_str);
            Finding::warning(format!(
                "Object Ownership is {now}: ACLs count, and may open single objects: set it to BucketOwnerEnforced"
            ))
        }
    }
}

fn public(block: Option<PublicAccessBlockConfiguration>) -> Finding {
    let Some(block) = block else {
        let text = "no block of public access is set on the bucket: turn all four settings on";
        return Finding::warning(text);
    };
    let all = [
        ("BlockPublicAcls", block.block_public_acls),
        ("IgnorePublicAcls", block.ignore_public_acls),
        ("BlockPublicPolicy", block.block_public_policy),
        ("RestrictPublicBuckets", block.restrict_public_buckets),
    ];
    let off: Vec<_> = all.iter().filter(|(_, on)| *on != Some(true)).map(|(name, _)| *name).collect();
    if off.is_empty() {
        return Finding::ok("blocked, by all four settings");
    }
    let (is, them) = if off.len() == 1 { ("is", "it") } else { ("are", "them") };
    Finding::warning(format!("logs may be opened to the world: {} {is} off, turn {them} on", off.join(", ")))
}

fn encryption(rule: Option<ServerSideEncryptionRule>) -> Finding {
    let keyed = rule.as_ref().is_some_and(|rule| rule.bucket_key_enabled == Some(true));
    let default = rule.and_then(|rule| rule.apply_server_side_encryption_by_default);
    let Some(default) = default else {
        return Finding::warning("there is no default: objects are as the store keeps them; set one");
    };
    match default.sse_algorithm {
        ServerSideEncryption::Aes256 => Finding::ok("with keys of S3 (SSE-S3)"),
        algorithm @ (ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse) => {
            let key = default.kms_master_key_id.unwrap_or_else(|| "the account's aws/s3".to_owned());
            let bucket_key = match (&algorithm, keyed) {
                (ServerSideEncryption::AwsKms, false) => "; without a bucket key, each request to S3 is one to KMS too",
                _ => "",
            };
            Finding::ok(format!(
                "by KMS ({algorithm}), with the key {key}: kms:GenerateDataKey and kms:Decrypt have to be allowed for it, \
                 which the objects below try{bucket_key}"
            ))
        }
        other => Finding::ok(other.to_string()),
    }
}

/// Keys of the lake, as rules of lifecycles match them.
#[derive(Debug)]
struct Lake {
    /// What all of them begin with; empty where the lake is the whole bucket.
    all: String,
    /// What those of the state begin with.
    state: String,
}

impl Lake {
    fn below(prefix: &str) -> Self {
        let all = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { state: format!("{all}_firemain/"), all }
    }
}

fn versioning(status: Option<BucketVersioningStatus>, rules: Option<&[LifecycleRule]>, lake: &Lake) -> Finding {
    let cleared = rules.map(|rules| {
        let mut rules = rules.iter().filter(|rule| takes(rule, &lake.state, Extent::All));
        rules.any(|rule| rule.noncurrent_version_expiration.is_some())
    });
    let state = &lake.state;
    match (status, cleared) {
        (Some(BucketVersioningStatus::Enabled), Some(true)) => {
            Finding::ok(format!("on; a lifecycle rule expires noncurrent versions below {state}"))
        }
        (Some(BucketVersioningStatus::Enabled), cleared) => {
            let unknown = if cleared.is_none() { " (the rules that there are can't be looked at)" } else { "" };
            Finding::warning(format!(
                "on: every heartbeat, snapshot and pack that Firemain replaces or deletes stays, and costs: add a lifecycle \
                 rule that expires noncurrent versions below {state} after a day{unknown}"
            ))
        }
        (Some(BucketVersioningStatus::Suspended), _) => Finding::ok("suspended: nothing new is kept twice"),
        (_, _) => Finding::ok("off: what is deleted is gone"),
    }
}

/// Findings about rules: what is missing, and what would harm.
fn lifecycle(rules: &[LifecycleRule], lake: &Lake) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (all, state) = (&lake.all, &lake.state);
    let shown = if all.is_empty() { "the whole bucket".to_owned() } else { all.clone() };
    let aborting = rules.iter().filter(|rule| takes(rule, all, Extent::All)).find_map(|rule| {
        let days = rule.abort_incomplete_multipart_upload.as_ref()?.days_after_initiation?;
        Some(format!("incomplete uploads are removed after {days} d"))
    });
    let harmful = rules.iter().filter(|rule| takes(rule, state, Extent::Some)).filter_map(|rule| {
        let name = rule.id.as_deref().unwrap_or("without a name");
        let expires = rule.expiration.as_ref().is_some_and(|rule| rule.days.is_some() || rule.date.is_some());
        let archives = rule.transitions.iter().flatten().any(|transition| {
            let class = transition.storage_class.as_ref();
            matches!(class, Some(TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive))
        });
        (expires || archives).then(|| {
            let does = if expires { "deletes" } else { "archives" };
            format!(
                "the rule {name:?} {does} objects below {state} too: a group whose state is gone reads the stream again, and \
                 delivers twice: limit the rule to other prefixes"
            )
        })
    });
    findings.extend(harmful.map(Finding::warning));
    match aborting {
        Some(text) if findings.is_empty() => findings.push(Finding::ok(text)),
        Some(_) => {}
        None => findings.push(Finding::warning(format!(
            "no rule removes incomplete multipart uploads, which a kill leaves behind and which cost: add one for {shown} \
             (AbortIncompleteMultipartUpload, 1 day)"
        ))),
    }
    findings
}

/// How much below a prefix a rule has to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    All,
    Some,
}

/// Whether a rule is on, and takes objects below a prefix: all, or some. Firemain's objects have no tags.
fn takes(rule: &LifecycleRule, below: &str, extent: Extent) -> bool {
    let filter = rule.filter.as_ref();
    let and = filter.and_then(|filter| filter.and.as_ref());
    let tagged = filter.is_some_and(|filter| filter.tag.is_some())
        || and.is_some_and(|and| and.tags.as_ref().is_some_and(|tags| !tags.is_empty()));
    let sized = filter.is_some_and(|f| f.object_size_greater_than.is_some() || f.object_size_less_than.is_some())
        || and.is_some_and(|and| and.object_size_greater_than.is_some() || and.object_size_less_than.is_some());
    let of_filter = filter.and_then(|filter| filter.prefix.as_deref().or(and.and_then(|and| and.prefix.as_deref())));
    #[allow(deprecated, reason = "older rules have their prefix here")]
    let prefix = of_filter.or(rule.prefix.as_deref()).unwrap_or_default();
    let takes = match extent {
        Extent::All => below.starts_with(prefix) && !sized,
        Extent::Some => below.starts_with(prefix) || prefix.starts_with(below),
    };
    rule.status == ExpirationStatus::Enabled && !tagged && takes
}

#[cfg(test)]
mod tests;
