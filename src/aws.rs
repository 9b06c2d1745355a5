//! AWS settings from the standard chain, loaded once: for the Kinesis client and for the object store alike.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::service_config::ServiceConfigKey;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::retry::Verdict;

pub mod actions;
#[cfg(test)]
pub mod scripted;

/// The SDK's own default for connections.
const CONNECT: Duration = Duration::from_millis(3100);
/// For one attempt at a call, its answer of up to 10 MiB (more as base64) read: 1 MB/s must be there.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long a search for settings or credentials may take: instance metadata that nobody serves would hang.
const SEARCH: Duration = Duration::from_secs(20);
/// Credentials are fetched anew from so long before they expire,
const BEFORE_EXPIRY: Duration = Duration::from_secs(300);
/// at most so often: some providers hand out nothing but such that expire soon,
const BETWEEN_FETCHES: Duration = Duration::from_secs(30);
/// unless they last no longer than this: a request must not outlive what it was signed with.
const TOO_LATE: Duration = Duration::from_secs(10);

/// Settings, with a region and credentials that were there at the start.
#[derive(Clone, Debug)]
pub struct Aws {
    pub sdk: SdkConfig,
    pub region: String,
    credentials: SharedCredentialsProvider,
}

/// What is missing at the start.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error("no AWS region: set AWS_REGION, or `region` in the profile (~/.aws/config)")]
    NoRegion,
    #[error(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, \
         or run where there is a task or instance role ({0})"
    )]
    NoCredentials(String),
    #[error(
        "no AWS settings within {SEARCH:?}: set AWS_REGION and credentials, so that nothing must be asked for them"
    )]
    Slow,
}

impl Aws {
    /// Loads the standard chain: environment, profile, task or instance role. `fallback` is the region where neither
    /// environment nor profile names one: a stream's ARN has it.
    pub async fn load(fallback: Option<&str>) -> Result<Self, AwsError> {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // Retries are made in one place, and that is crate::retry.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = fallback {
            let named = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
            let named = named.or_else(ProfileFileRegionProvider::new());
            loader = loader.region(named.or_else(Region::new(region.to_owned())));
        }
        let sdk = timeout(SEARCH, loader.load()).await.map_err(|_| AwsError::Slow)?;
        Self::new(sdk).await
    }

    /// Settings that were loaded, or made, elsewhere: looks whether a region and credentials are there.
    pub async fn new(sdk: SdkConfig) -> Result<Self, AwsError> {
        let region = sdk.region().ok_or(AwsError::NoRegion)?.to_string();
        let credentials = sdk.credentials_provider().ok_or_else(|| AwsError::NoCredentials("no provider".into()))?;
        fetch(&credentials).await.map_err(|error| AwsError::NoCredentials(causes(&error)))?;
        Ok(Self { sdk, region, credentials })
    }

    /// The endpoint of a service, where one is set: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or the profile's.
    pub fn endpoint(&self, service_id: &str) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service_id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        let key = key.build().expect("all three are set");
        let own = self.sdk.service_config().and_then(|config| config.load_config(key));
        own.or_else(|| self.sdk.endpoint_url().map(str::to_owned))
    }

    pub fn credentials(&self) -> SharedCredentialsProvider {
        self.credentials.clone()
    }

    /// The same credentials for the object store.
    pub fn for_object_store(&self) -> Arc<ObjectStoreCredentials> {
        Arc::new(ObjectStoreCredentials::new(self.credentials.clone()))
    }
}

/// An error and what caused it, on one line. What a cause only repeats is left out.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

/// What it allows, where an error comes from a search for credentials; `None` where it does not.
pub fn credentials_verdict(error: &(dyn Error + 'static)) -> Option<Verdict> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            let slow = matches!(error, CredentialsError::ProviderTimedOut(_));
            return Some(if slow { Verdict::Transient } else { Verdict::Refused });
        }
        source = error.source();
    }
    None
}

async fn fetch(provider: &SharedCredentialsProvider) -> Result<Credentials, CredentialsError> {
    timeout(SEARCH, provider.provide_credentials())
        .await
        .unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(SEARCH)))
}

/// Hands the chain's credentials to `object_store`, and keeps them until shortly before they expire.
pub struct ObjectStoreCredentials {
    provider: SharedCredentialsProvider,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
    /// When better ones were last asked for.
    asked: Instant,
}

impl Cached {
    fn lasts(&self, time: Duration) -> bool {
        self.expires.is_none_or(|expires| expires > SystemTime::now() + time)
    }

    fn is_fresh(&self) -> bool {
        self.lasts(BEFORE_EXPIRY) || (self.lasts(TOO_LATE) && self.asked.elapsed() < BETWEEN_FETCHES)
    }
}

impl ObjectStoreCredentials {
    fn new(provider: SharedCredentialsProvider) -> Self {
        Self { provider, cached: Mutex::new(None) }
    }
}

impl fmt::Debug for ObjectStoreCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectStoreCredentials")
    }
}

#[async_trait]
impl CredentialProvider for ObjectStoreCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Held while they are fetched: everybody else waits for the same answer.
        let mut cached = self.cached.lock().await;
        if let Some(fresh) = cached.as_ref().filter(|cached| cached.is_fresh()) {
            return Ok(Arc::clone(&fresh.credential));
        }
        let asked = Instant::now();
        match fetch(&self.provider).await {
            Ok(credentials) => {
                let (credential, expires) = (convert(&credentials), credentials.expiry());
                Ok(Arc::clone(&cached.insert(Cached { credential, expires, asked }).credential))
            }
            // Those that are there still hold for a while: better than none.
            Err(error) => match cached.as_mut().filter(|old| old.lasts(Duration::ZERO)) {
                Some(old) => {
                    old.asked = asked;
                    Ok(Arc::clone(&old.credential))
                }
                None => Err(object_store::Error::Generic { store: "S3", source: Box::new(error) }),
            },
        }
    }
}

fn convert(credentials: &Credentials) -> Arc<AwsCredential> {
    Arc::new(AwsCredential {
        key_id: credentials.access_key_id().to_owned(),
        secret_key: credentials.secret_access_key().to_owned(),
        token: credentials.session_token().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_credential_types::provider::future;

    use super::*;

    /// Hands out key 1, key 2, …, each valid for so long.
    #[derive(Debug)]
    struct Rotating {
        valid_for: Duration,
        handed_out: AtomicU32,
    }

    impl ProvideCredentials for Rotating {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let key = format!("key {}", self.handed_out.fetch_add(1, Ordering::Relaxed) + 1);
            let expires = SystemTime::now() + self.valid_for;
            future::ProvideCredentials::ready(Ok(Credentials::new(key, "secret", None, Some(expires), "test")))
        }
    }

    fn provider(valid_for: Duration) -> ObjectStoreCredentials {
        let rotating = Rotating { valid_for, handed_out: AtomicU32::new(0) };
        ObjectStoreCredentials::new(SharedCredentialsProvider::new(rotating))
    }

    async fn keys<const N: usize>(credentials: &ObjectStoreCredentials) -> [String; N] {
        let mut keys = [const { String::new() }; N];
        for key in &mut keys {
            key.clone_from(&credentials.get_credential().await.unwrap().key_id);
        }
        keys
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        assert_eq!(keys(&provider(Duration::from_secs(3600))).await, ["key 1", "key 1"]);
        assert_eq!(keys(&provider(Duration::from_secs(5))).await, ["key 1", "key 2"], "too late to be used again");
        let short_lived = provider(Duration::from_secs(120));
        assert_eq!(keys(&short_lived).await, ["key 1", "key 1", "key 1"], "no search for each request");
        tokio::time::advance(BETWEEN_FETCHES).await;
        assert_eq!(keys(&short_lived).await, ["key 2", "key 2"]);
    }

    #[tokio::test]
    async fn many_requests_at_once_search_once() {
        let credentials = provider(Duration::from_secs(3600));
        let all = futures::future::join_all((0..20).map(|_| credentials.get_credential())).await;
        assert!(all.into_iter().all(|one| one.unwrap().key_id == "key 1"));
    }

    /// Answers once, then never again; or not even once.
    #[derive(Debug)]
    struct Failing {
        first: Mutex<Option<Credentials>>,
        hangs: bool,
    }

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                match self.first.lock().await.take() {
                    Some(credentials) => Ok(credentials),
                    None if self.hangs => std::future::pending().await,
                    None => Err(CredentialsError::not_loaded("said by a test")),
                }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_holds_is_used_when_there_is_nothing_newer() {
        let soon = SystemTime::now() + Duration::from_secs(60);
        let first = Credentials::new("old", "secret", None, Some(soon), "test");
        for hangs in [true, false] {
            let provider = Failing { first: Mutex::new(Some(first.clone())), hangs };
            let credentials = ObjectStoreCredentials::new(SharedCredentialsProvider::new(provider));
            credentials.get_credential().await.unwrap();
            tokio::time::advance(BETWEEN_FETCHES).await;
            assert_eq!(credentials.get_credential().await.unwrap().key_id, "old");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_at_the_start_is_named() {
        let none = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        let error = Aws::new(none.clone()).await.unwrap_err();
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
        let region = none.into_builder().region(Region::new("eu-west-1")).build();
        let error = Aws::new(region.clone()).await.unwrap_err();
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
        for hangs in [true, false] {
            let provider = SharedCredentialsProvider::new(Failing { first: Mutex::new(None), hangs });
            let error =
                Aws::new(region.clone().into_builder().credentials_provider(provider).build()).await.unwrap_err();
            assert!(error.to_string().contains("no AWS credentials"), "{error}");
        }
    }

    #[test]
    fn a_search_that_was_too_slow_may_be_tried_again() {
        let within = |error| object_store::Error::Generic { store: "S3", source: Box::new(error) };
        let slow = within(CredentialsError::provider_timed_out(SEARCH));
        assert_eq!(credentials_verdict(&slow), Some(Verdict::Transient));
        let none = within(CredentialsError::not_loaded("x"));
        assert_eq!(credentials_verdict(&none), Some(Verdict::Refused));
        assert_eq!(credentials_verdict(&std::io::Error::other("x")), None);
    }

    /// The settings of a service as environment and profile would have them.
    #[derive(Debug)]
    struct Endpoints(&'static [(&'static str, &'static str)]);

    impl aws_types::service_config::LoadServiceConfig for Endpoints {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let own = (key.env() == "AWS_ENDPOINT_URL" && key.profile() == "endpoint_url").then_some(key.service_id());
            self.0.iter().find(|(service, _)| own == Some(service)).map(|(_, url)| (*url).to_owned())
        }
    }

    #[tokio::test]
    async fn a_service_has_its_own_endpoint_before_the_common_one() {
        let credentials = SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "test"));
        let sdk = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
        let sdk = sdk.credentials_provider(credentials).build();
        let aws = Aws::new(sdk.clone()).await.unwrap();
        assert_eq!(aws.endpoint("S3"), None);
        let own = sdk
            .into_builder()
            .service_config(Endpoints(&[("S3", "http://s3.test")]))
            .endpoint_url("http://common.test");
        let aws = Aws::new(own.build()).await.unwrap();
        assert_eq!(aws.endpoint("S3").as_deref(), Some("http://s3.test"));
        assert_eq!(aws.endpoint("Kinesis").as_deref(), Some("http://common.test"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let provider = SharedCredentialsProvider::new(Credentials::new("id", "hidden", None, None, "test"));
        assert!(!format!("{:?}", ObjectStoreCredentials::new(provider)).contains("hidden"));
    }
}
