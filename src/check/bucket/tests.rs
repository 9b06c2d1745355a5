use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, ServerSideEncryptionByDefault, Tag, Transition,
};

use super::*;
use crate::check::State;

fn miss(code: Option<&str>, status: Option<u16>) -> Miss {
    Miss { code: code.map(str::to_owned), status, text: "said by a test".to_owned(), ..Miss::default() }
}

#[test]
fn a_bucket_is_there_in_our_region_or_what_to_do_is_said() {
    let judged = |reached: Result<(), Miss>, region: Option<&str>, by_name| {
        let There { is_there, finding } = there("lake", reached.as_ref().map(drop), region, "us-east-1", by_name);
        (is_there, finding.state, finding.text)
    };
    let (is_there, state, text) = judged(Ok(()), Some("us-east-1"), true);
    assert_eq!((is_there, state, text.as_str()), (true, State::Ok, "lake is there, in us-east-1, as the settings say"));
    let (is_there, state, text) = judged(Ok(()), None, true);
    assert!(is_there && state == State::Ok && text.contains("not told, nor by s3:GetBucketLocation"), "{text}");
    // Some stores answer in any region, S3 by a redirect.
    for head in [Ok(()), Err(miss(None, Some(301))), Err(miss(None, Some(403)))] {
        let (is_there, state, text) = judged(head.clone(), Some("eu-west-1"), false);
        assert!(!is_there && state == State::Failed && text.ends_with(": set AWS_REGION=eu-west-1"), "{text}");
        let (.., text) = judged(head, Some("eu-west-1"), true);
        assert!(text.ends_with("and name the stream by its ARN if it stays in us-east-1"), "{text}");
    }
    let (is_there, _, text) = judged(Err(miss(None, Some(301))), None, false);
    assert!(!is_there && text.contains("in another region than us-east-1: set AWS_REGION"), "{text}");
    let (is_there, state, text) = judged(Err(miss(None, Some(404))), None, false);
    assert!(!is_there && state == State::Failed && text.starts_with("there is no bucket lake: make it"), "{text}");
    let (is_there, state, text) = judged(Err(miss(None, Some(403))), Some("us-east-1"), false);
    assert!(is_there && state == State::Failed && text.contains("allow s3:ListBucket on the bucket"), "{text}");
    let (is_there, _, text) = judged(Err(miss(Some("ExpiredToken"), Some(400))), None, false);
    assert!(!is_there && text.starts_with("lake: the credentials have expired"), "{text}");
    let (is_there, _, text) = judged(Err(miss(Some("SignatureDoesNotMatch"), Some(403))), None, false);
    assert!(!is_there && text.starts_with("lake: the credentials are not accepted"), "{text}");
    let (is_there, state, _) = judged(Err(miss(None, None)), None, false);
    assert!(!is_there && state == State::Failed);
}

#[test]
fn a_bucket_of_another_account_is_a_warning() {
    assert_eq!(owned(Ok(()), "123456789012").state, State::Ok);
    let other = owned(Err(miss(None, Some(403))), "123456789012");
    assert!(
        other.state == State::Warning && other.text.starts_with("it is not account 123456789012"),
        "{}",
        other.text
    );
    assert_eq!(owned(Err(miss(None, Some(503))), "123456789012").state, State::NotChecked);
}

#[test]
fn what_may_not_be_looked_at_is_no_failure_and_names_its_action() {
    for (code, status) in [(Some("AccessDenied"), Some(403)), (None, Some(403)), (Some("AccessDenied"), Some(400))] {
        let finding = unanswered(&miss(code, status), PUBLIC);
        assert_eq!(finding.state, State::NotChecked);
        assert!(finding.text.contains("allow s3:GetBucketPublicAccessBlock"), "{}", finding.text);
    }
    let unknown = unanswered(&miss(Some("NotImplemented"), Some(501)), PUBLIC);
    assert!(unknown.state == State::NotChecked && unknown.text.contains("knows no such setting"), "{}", unknown.text);
    assert_eq!(unanswered(&miss(None, None), PUBLIC).state, State::NotChecked);
}

#[test]
fn a_setting_that_is_missing_is_judged_and_one_that_is_refused_is_not() {
    let none = or_none::<()>(
        Err(miss(Some("NoSuchPublicAccessBlockConfiguration"), Some(404))),
        "NoSuchPublicAccessBlockConfiguration",
    );
    assert_eq!(none, Ok(None));
    let denied = or_none::<()>(Err(miss(Some("AccessDenied"), Some(403))), "NoSuchPublicAccessBlockConfiguration");
    assert!(denied.is_err());
}

#[test]
fn acls_are_off_or_warned_about() {
    assert_eq!(ownership(Some(ObjectOwnership::BucketOwnerEnforced)).state, State::Ok);
    for other in [None, Some(ObjectOwnership::ObjectWriter), Some(ObjectOwnership::BucketOwnerPreferred)] {
        let finding = ownership(other.clone());
        assert!(
            finding.state == State::Warning && finding.text.ends_with("set it to BucketOwnerEnforced"),
            "{other:?}"
        );
    }
}

#[test]
fn public_access_is_blocked_by_all_four_settings_or_those_that_are_off_are_named() {
    let block = |acls, policy| {
        let block = PublicAccessBlockConfiguration::builder().block_public_acls(acls).ignore_public_acls(true);
        public(Some(block.block_public_policy(policy).restrict_public_buckets(true).build()))
    };
    assert_eq!(block(true, true).state, State::Ok);
    let one = block(true, false);
    assert_eq!(one.state, State::Warning);
    assert_eq!(one.text, "logs may be opened to the world: BlockPublicPolicy is off, turn it on");
    assert!(block(false, false).text.contains("BlockPublicAcls, BlockPublicPolicy are off, turn them on"));
    assert_eq!(public(None).state, State::Warning);
}

#[test]
fn a_key_of_kms_is_named_with_the_actions_that_it_takes() {
    let by = |algorithm, key: Option<&str>, bucket_key| {
        let default = ServerSideEncryptionByDefault::builder().sse_algorithm(algorithm);
        let default = default.set_kms_master_key_id(key.map(str::to_owned)).build().unwrap();
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default);
        encryption(Some(rule.bucket_key_enabled(bucket_key).build()))
    };
    assert_eq!(by(ServerSideEncryption::Aes256, None, false), Finding::ok("with keys of S3 (SSE-S3)"));
    let keyed = by(ServerSideEncryption::AwsKms, Some("arn:aws:kms:eu-west-1:1:key/2"), true);
    assert_eq!(keyed.state, State::Ok);
    for named in ["arn:aws:kms:eu-west-1:1:key/2", "kms:GenerateDataKey", "kms:Decrypt"] {
        assert!(keyed.text.contains(named), "{}", keyed.text);
    }
    assert!(!keyed.text.contains("bucket key"), "{}", keyed.text);
    assert!(by(ServerSideEncryption::AwsKms, None, false).text.contains("without a bucket key"));
    assert_eq!(encryption(None).state, State::Warning);
}

fn rule() -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
    LifecycleRule::builder().id("r").status(ExpirationStatus::Enabled)
}

fn of(prefix: &str) -> LifecycleRuleFilter {
    LifecycleRuleFilter::builder().prefix(prefix).build()
}

fn aborts(rule: aws_sdk_s3::types::builders::LifecycleRuleBuilder) -> LifecycleRule {
    let after = AbortIncompleteMultipartUpload::builder().days_after_initiation(2).build();
    rule.abort_incomplete_multipart_upload(after).build().unwrap()
}

#[test]
fn versioning_costs_unless_old_versions_of_the_state_expire() {
    let lake = Lake::below("logs");
    let expires = |rule: aws_sdk_s3::types::builders::LifecycleRuleBuilder| {
        let after = NoncurrentVersionExpiration::builder().noncurrent_days(1).build();
        rule.noncurrent_version_expiration(after).build().unwrap()
    };
    let on = |rules: Option<&[LifecycleRule]>| versioning(Some(BucketVersioningStatus::Enabled), rules, &lake);
    for covering in [expires(rule()), expires(rule().filter(of(""))), expires(rule().filter(of("logs/_firemain/")))] {
        assert_eq!(on(Some(&[covering])).state, State::Ok);
    }
    let disabled = expires(LifecycleRule::builder().status(ExpirationStatus::Disabled));
    for other in [disabled, expires(rule().filter(of("logs/errors/"))), rule().build().unwrap()] {
        let finding = on(Some(&[other]));
        assert_eq!(finding.state, State::Warning);
        assert!(finding.text.contains("noncurrent versions below logs/_firemain/"), "{}", finding.text);
    }
    let unknown = on(None);
    assert!(unknown.state == State::Warning && unknown.text.contains("can't be looked at"), "{}", unknown.text);
    assert_eq!(versioning(None, Some(&[]), &lake).state, State::Ok);
    assert_eq!(versioning(Some(BucketVersioningStatus::Suspended), None, &lake).state, State::Ok);
}

#[test]
fn a_rule_removes_incomplete_uploads_of_the_whole_lake_or_is_missed() {
    let lake = Lake::below("logs");
    let states = |rules: &[LifecycleRule]| lifecycle(rules, &lake).iter().map(|f| f.state).collect::<Vec<_>>();
    #[allow(deprecated)]
    let old = rule().prefix("logs");
    for covering in [aborts(rule()), aborts(rule().filter(of("logs/"))), aborts(old)] {
        assert_eq!(states(&[rule().build().unwrap(), covering]), [State::Ok]);
    }
    let tag = Tag::builder().key("a").value("b").build().unwrap();
    let tagged = LifecycleRuleFilter::builder().tag(tag).build();
    let large = LifecycleRuleFilter::builder().object_size_greater_than(1).build();
    for other in
        [aborts(rule().filter(of("logs/_firemain/"))), aborts(rule().filter(tagged)), aborts(rule().filter(large))]
    {
        assert_eq!(states(&[other]), [State::Warning]);
    }
    let missing = lifecycle(&[], &lake);
    assert!(missing[0].text.contains("add one for logs/ (AbortIncompleteMultipartUpload"), "{}", missing[0].text);
    assert!(lifecycle(&[], &Lake::below(""))[0].text.contains("add one for the whole bucket"));
}

#[test]
fn a_rule_that_would_take_the_state_away_is_a_warning() {
    let lake = Lake::below("logs");
    let expires = |prefix: &str| {
        let expiration = LifecycleExpiration::builder().days(30).build();
        rule().filter(of(prefix)).expiration(expiration).build().unwrap()
    };
    let archives = |prefix: &str, class| {
        let transition = Transition::builder().days(30).storage_class(class).build();
        rule().filter(of(prefix)).transitions(transition).build().unwrap()
    };
    let told = |harmful: LifecycleRule| lifecycle(&[aborts(rule()), harmful], &lake);
    for harmful in ["", "lo", "logs/", "logs/_firemain/default/state/"] {
        let findings = told(expires(harmful));
        assert_eq!((findings.len(), findings[0].state), (1, State::Warning), "{harmful:?}");
        assert!(
            findings[0].text.starts_with("the rule \"r\" deletes objects below logs/_firemain/"),
            "{}",
            findings[0].text
        );
    }
    assert_eq!(told(archives("logs/", TransitionStorageClass::Glacier))[0].state, State::Warning);
    for harmless in [
        expires("logs/log_events/"),
        expires("other/"),
        archives("logs/", TransitionStorageClass::IntelligentTiering),
        rule()
            .filter(of(""))
            .expiration(LifecycleExpiration::builder().expired_object_delete_marker(true).build())
            .build()
            .unwrap(),
    ] {
        assert_eq!(told(harmless)[0].state, State::Ok);
    }
    let tag = Tag::builder().key("a").value("b").build().unwrap();
    let and = LifecycleRuleAndOperator::builder().prefix("").tags(tag).build();
    let filter = LifecycleRuleFilter::builder().and(and).build();
    let tagged = rule().filter(filter).expiration(LifecycleExpiration::builder().days(1).build()).build().unwrap();
    assert_eq!(told(tagged)[0].state, State::Ok, "no object of ours has a tag");
}

/// What is named for somebody to allow has to be in the documentation.
#[test]
fn every_action_of_the_checks_is_documented() {
    let documented = include_str!("../../../docs/configuration.md");
    let all = [LOCATION, OWNERSHIP, PUBLIC, ENCRYPTION, VERSIONING, LIFECYCLE, crate::check::glue::DATABASE];
    for action in all.into_iter().chain(["sts:GetCallerIdentity"]) {
        assert!(documented.contains(&format!("`{action}`")), "{action}");
    }
}
