use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, PutOptions};

use super::*;
use crate::aws::scripted::{Reply, Scripted};

async fn aws(endpoint: &str) -> Aws {
    let credentials = Credentials::new("AKID", "hidden-secret", Some("hidden-token".into()), None, "test");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    Aws::new(sdk.build()).await.unwrap()
}

async fn bucket(server: &Scripted) -> Opened {
    let destination = Destination::S3 { bucket: "lake".into(), prefix: "logs/app".into() };
    open(&destination, Some(&aws(&server.url).await)).unwrap()
}

fn s3_error(code: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>said by a test</Message></Error>")
}

/// The error that a put gets from a server that always replies so.
async fn refused(reply: Reply) -> object_store::Error {
    let server = Scripted::serve(move |_| reply.clone()).await;
    let opened = bucket(&server).await;
    let error = opened.store.put(&Path::from("a/b"), Bytes::from_static(b"x").into()).await.unwrap_err();
    assert_eq!(server.requests().len(), 1, "one attempt: retries are made elsewhere");
    error
}

#[tokio::test]
async fn every_answer_of_s3_is_judged() {
    use Verdict::{Refused, Transient};
    let answers = [
        (301, "PermanentRedirect", Refused),
        (400, "ExpiredToken", Refused),
        (400, "InvalidRequest", Refused),
        (401, "Unauthorized", Refused),
        (403, "AccessDenied", Refused),
        (403, "SignatureDoesNotMatch", Refused),
        (404, "NoSuchBucket", Refused),
        (405, "MethodNotAllowed", Refused),
        (408, "RequestTimeout", Transient),
        (409, "OperationAborted", Transient),
        (429, "TooManyRequests", Transient),
        (500, "InternalError", Transient),
        (501, "NotImplemented", Refused),
        (502, "BadGateway", Transient),
        (503, "SlowDown", Transient),
        (504, "GatewayTimeout", Transient),
    ];
    for (status, code, expected) in answers {
        let error = refused(Reply::new(status, s3_error(code))).await;
        assert_eq!(verdict(&error), expected, "{status} {code}: {error:?}");
        let explained = explain(&error);
        assert!(!explained.contains('\n') && !explained.contains("hidden"), "{explained}");
        assert!(explained.contains("lake"), "the bucket is named: {explained}");
    }
}

#[tokio::test]
async fn lost_connections_can_heal() {
    let error = refused(Reply::Cut).await;
    assert_eq!(verdict(&error), Verdict::Transient, "{error:?}");
    let gone = Scripted::serve(|_| Reply::Cut).await;
    let opened = bucket(&gone).await;
    drop(gone);
    tokio::task::yield_now().await;
    let error = opened.store.get(&Path::from("a")).await.unwrap_err();
    assert_eq!(verdict(&error), Verdict::Transient, "{error:?}");
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let denied = refused(Reply::new(403, s3_error("AccessDenied"))).await;
    let told = explain(&denied);
    assert!(told.starts_with("access denied") && told.contains("s3:PutObject"), "{told}");
    let absent = explain(&refused(Reply::new(404, s3_error("NoSuchBucket"))).await);
    assert!(absent.starts_with("no such bucket"), "{absent}");
    let unsigned = explain(&refused(Reply::new(403, s3_error("SignatureDoesNotMatch"))).await);
    assert!(unsigned.starts_with("access denied: the credentials"), "{unsigned}");
    let expired = explain(&refused(Reply::new(400, s3_error("ExpiredToken"))).await);
    assert!(expired.contains("credentials have expired"), "{expired}");
    let elsewhere = explain(&refused(Reply::new(301, s3_error("PermanentRedirect"))).await);
    assert!(elsewhere.contains("AWS_REGION"), "{elsewhere}");
}

/// The first request of a run is a listing.
#[tokio::test]
async fn a_listing_that_is_refused_says_so_too() {
    for (status, code, told) in [(403, "AccessDenied", "access denied"), (404, "NoSuchBucket", "no such bucket")] {
        let server = Scripted::serve(move |_| Reply::new(status, s3_error(code))).await;
        let store = bucket(&server).await.store;
        let error = store.list(Some(&Path::from("a"))).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(verdict(&error), Verdict::Refused);
        assert!(explain(&error).starts_with(told), "{}", explain(&error));
    }
}

#[tokio::test]
async fn the_permission_named_is_that_of_the_request() {
    let server = Scripted::serve(|_| Reply::new(403, s3_error("AccessDenied"))).await;
    let store = bucket(&server).await.store;
    let listed = store.list(Some(&Path::from("a"))).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(explain(&listed).contains("allow s3:ListBucket there"), "{}", explain(&listed));
    let got = store.get(&Path::from("a")).await.unwrap_err();
    assert!(explain(&got).contains("s3:GetObject"), "{}", explain(&got));
    let deleted = store.delete(&Path::from("a")).await.unwrap_err();
    assert!(explain(&deleted).contains("s3:DeleteObject"), "{}", explain(&deleted));
}

/// The answer to a delete of many has the status 200, whatever became of each.
#[tokio::test]
async fn a_delete_that_is_refused_says_so_too() {
    for (code, expected) in [("AccessDenied", Verdict::Refused), ("InternalError", Verdict::Transient)] {
        let answer = format!(
            "<DeleteResult><Error><Key>logs/app/a</Key><Code>{code}</Code><Message>why</Message></Error></DeleteResult>"
        );
        let server = Scripted::serve(move |_| Reply::new(200, answer.clone())).await;
        let error = bucket(&server).await.store.delete(&Path::from("a")).await.unwrap_err();
        assert_eq!(verdict(&error), expected, "{error}");
        let denied = advice(&error).is_some_and(|advice| advice.text.contains("allow s3:DeleteObject there"));
        assert_eq!(denied, expected == Verdict::Refused, "{}", explain(&error));
    }
}

/// What a person is told is what S3 said, and not its XML.
#[tokio::test]
async fn what_s3_said_is_taken_out_of_its_answer() {
    let denied = refused(Reply::new(403, s3_error("AccessDenied"))).await;
    assert_eq!(said(&denied), "AccessDenied: said by a test");
    let cut = refused(Reply::Cut).await;
    assert_eq!(said(&cut), text(&cut));
}

#[tokio::test]
async fn requests_are_path_style_signed_whole_and_conditional() {
    let ok = Reply::Answer { status: 200, headers: vec![("etag", "\"1\"".into())], body: String::new() };
    let server = Scripted::serve(move |_| ok.clone()).await;
    let opened = bucket(&server).await;
    let create = PutOptions::from(PutMode::Create);
    opened.store.put_opts(&Path::from("state/1"), Bytes::from_static(b"x").into(), create).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("PUT", "/lake/logs/app/state/1"));
    assert_eq!(request.headers["if-none-match"], "*");
    assert_eq!(request.headers["x-amz-content-sha256"].len(), 64, "not unsigned");
    assert!(request.headers["authorization"].contains("/eu-west-1/s3/"), "{:?}", request.headers);
    assert_eq!(request.headers["x-amz-security-token"], "hidden-token");
}

#[tokio::test]
async fn a_create_that_finds_something_says_so() {
    let error = {
        let server = Scripted::serve(|_| Reply::new(412, s3_error("PreconditionFailed"))).await;
        let store = bucket(&server).await.store;
        store.put_opts(&Path::from("a"), Bytes::new().into(), PutMode::Create.into()).await.unwrap_err()
    };
    assert!(matches!(error, object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }));
}

#[tokio::test]
async fn a_create_on_a_local_disk_has_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&Destination::File { folder: folder.path().join("made/anew") }, None).unwrap();
    assert!(!opened.attributes);
    for round in 0..20 {
        let key = Path::from(format!("state/{round}"));
        let create = |n: u8| {
            let (store, key) = (Arc::clone(&opened.store), key.clone());
            tokio::spawn(async move {
                store.put_opts(&key, Bytes::from(vec![n; 1 << 16]).into(), PutMode::Create.into()).await
            })
        };
        let mut winners = Vec::new();
        for (n, race) in (0..8).map(|n| (n, create(n))).collect::<Vec<_>>() {
            match race.await.unwrap() {
                Ok(_) => winners.push(n),
                Err(error) => assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error:?}"),
            }
        }
        let bytes = opened.store.get(&key).await.unwrap().bytes().await.unwrap();
        assert_eq!(winners, [bytes[0]]);
        assert!(bytes.len() == 1 << 16 && bytes.iter().all(|byte| *byte == bytes[0]));
    }
}

#[tokio::test]
async fn what_a_killed_process_leaves_on_a_disk_is_no_object_and_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&Destination::File { folder: folder.path().into() }, None).unwrap();
    std::fs::create_dir(folder.path().join("t")).unwrap();
    std::fs::write(folder.path().join("t/a.parquet#1"), "half").unwrap();
    let listed: Vec<_> = opened.store.list(None).try_collect().await.unwrap();
    assert_eq!(listed, []);
    let key = Path::from("t/a.parquet");
    opened.store.put(&key, Bytes::from_static(b"whole").into()).await.unwrap();
    assert_eq!(opened.store.get(&key).await.unwrap().bytes().await.unwrap(), "whole");
    let listed: Vec<_> = opened.store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn what_a_disk_refuses_is_told_from_a_full_one() {
    let wrapped = |kind: std::io::ErrorKind| object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(std::io::Error::from(kind)),
    };
    assert_eq!(verdict(&wrapped(std::io::ErrorKind::StorageFull)), Verdict::Transient);
    assert_eq!(verdict(&wrapped(std::io::ErrorKind::ReadOnlyFilesystem)), Verdict::Refused);
    assert_eq!(verdict(&wrapped(std::io::ErrorKind::PermissionDenied)), Verdict::Refused);
    // As the store itself tells it: a file stands where a folder must be.
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&Destination::File { folder: folder.path().into() }, None).unwrap();
    std::fs::write(folder.path().join("t"), "a file").unwrap();
    let error = opened.store.put(&Path::from("t/a"), Bytes::new().into()).await.unwrap_err();
    assert_eq!(verdict(&error), Verdict::Refused, "{error:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = open(&Destination::File { folder: folder.path().join("file/lake") }, None).unwrap_err();
    assert!(error.to_string().contains("file/lake"), "{error}");
}
