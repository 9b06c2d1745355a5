//! AWS settings from the standard chain, loaded once: for the Kinesis client and for the object store alike.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::service_config::ServiceConfigKey;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long the search for credentials may take at the start: instance metadata that nobody serves would hang.
const CREDENTIALS: Duration = Duration::from_secs(20);
/// Credentials are fetched anew so long before they expire.
const BEFORE_EXPIRY: Duration = Duration::from_secs(300);

/// Settings, with a region and credentials that were there at the start.
#[derive(Clone, Debug)]
pub struct Aws {
    pub sdk: SdkConfig,
    pub region: String,
    credentials: SharedCredentialsProvider,
}

#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error("no AWS region: set AWS_REGION, or `region` in the profile (~/.aws/config)")]
    NoRegion,
    #[error(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, \
         or run where there is a task or instance role ({0})"
    )]
    NoCredentials(String),
}

impl Aws {
    /// Loads the standard chain: environment, profile, task role. `region` goes before it: a stream's ARN names one.
    pub async fn load(region: Option<&str>) -> Result<Self, AwsError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(Duration::from_secs(30))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // Retries are made in one place, and that is crate::retry.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        let sdk = loader.load().await;
        let region = sdk.region().ok_or(AwsError::NoRegion)?.to_string();
        let credentials = sdk.credentials_provider().ok_or_else(|| AwsError::NoCredentials("no provider".into()))?;
        let aws = Self { sdk, region, credentials };
        match timeout(CREDENTIALS, aws.credentials.provide_credentials()).await {
            Ok(Ok(_)) => Ok(aws),
            Ok(Err(error)) => Err(AwsError::NoCredentials(error.to_string())),
            Err(_) => Err(AwsError::NoCredentials(format!("none within {CREDENTIALS:?}"))),
        }
    }

    /// The endpoint of a service, where one is set: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or the profile's.
    pub fn endpoint(&self, service_id: &str) -> Option<String> {
        let key = ServiceConfigKey::builder().service_id(service_id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        let key = key.build().expect("all three are set");
        let own = self.sdk.service_config().and_then(|config| config.load_config(key));
        own.or_else(|| self.sdk.endpoint_url().map(str::to_owned))
    }

    /// The same credentials for the object store.
    pub fn for_object_store(&self) -> Arc<ObjectStoreCredentials> {
        Arc::new(ObjectStoreCredentials { provider: self.credentials.clone(), cached: Mutex::new(None) })
    }
}

/// Hands the chain's credentials to `object_store`, and keeps them until shortly before they expire.
pub struct ObjectStoreCredentials {
    provider: SharedCredentialsProvider,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
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
        let soon = SystemTime::now() + BEFORE_EXPIRY;
        if let Some(fresh) = cached.as_ref().filter(|cached| cached.expires.is_none_or(|expires| expires > soon)) {
            return Ok(Arc::clone(&fresh.credential));
        }
        match self.provider.provide_credentials().await {
            Ok(credentials) => {
                let new = cached.insert(Cached { credential: convert(&credentials), expires: credentials.expiry() });
                Ok(Arc::clone(&new.credential))
            }
            // Those that are there still hold for some minutes: better than none.
            Err(error) => match cached.as_ref().filter(|old| old.expires.is_none_or(|end| end > SystemTime::now())) {
                Some(old) => Ok(Arc::clone(&old.credential)),
                None => Err(object_store::Error::Generic { store: "credentials", source: Box::new(error) }),
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

    async fn two_keys(valid_for: Duration) -> [String; 2] {
        let provider = SharedCredentialsProvider::new(Rotating { valid_for, handed_out: AtomicU32::new(0) });
        let credentials = ObjectStoreCredentials { provider, cached: Mutex::new(None) };
        let first = credentials.get_credential().await.unwrap().key_id.clone();
        [first, credentials.get_credential().await.unwrap().key_id.clone()]
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_expire() {
        assert_eq!(two_keys(Duration::from_secs(3600)).await, ["key 1", "key 1"]);
        assert_eq!(two_keys(Duration::from_secs(60)).await, ["key 1", "key 2"]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let provider = SharedCredentialsProvider::new(Credentials::new("id", "hidden", None, None, "test"));
        let credentials = ObjectStoreCredentials { provider, cached: Mutex::new(None) };
        assert!(!format!("{credentials:?}").contains("hidden"));
    }
}
