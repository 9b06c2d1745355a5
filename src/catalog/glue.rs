//! AWS Glue: two calls, over the client of the SDK without its crate for Glue, which has five times the code of the one for
//! Kinesis (docs/decisions/0010-glue-by-two-calls.md).
//!
//! Protocol: JSON 1.1, the action in `X-Amz-Target`. <https://docs.aws.amazon.com/glue/latest/webapi/WebAPI_Welcome.html>

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Catalog, CatalogError, NewPartition};
use crate::aws::{Aws, causes};

/// For one call, its answer read.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long what is known of a table counts: columns may be added to it.
const TABLE_HOLDS: Duration = Duration::from_secs(300);
/// Partitions of one BatchCreatePartition, at most.
const BATCH: usize = 100;

/// The tables of one Glue database.
#[derive(Debug)]
pub struct Glue {
    database: String,
    call: Operation<Request, Answer, Failed>,
    /// How each table is stored, which its partitions are too; and when that was asked.
    tables: Mutex<HashMap<String, (Instant, Stored)>>,
}

#[derive(Clone, Debug)]
enum Stored {
    /// The StorageDescriptor of its partitions, but for their location.
    Registered(Value),
    /// Nobody registers its partitions: queries work them out.
    Projected,
}

#[derive(Debug)]
struct Request {
    action: &'static str,
    body: String,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
}

/// No call fails in itself: what the service answers is looked at here.
#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Failed;

impl Glue {
    pub fn new(aws: &Aws, database: &str) -> Self {
        let region = aws.region.clone();
        let endpoint = aws.endpoint("Glue").unwrap_or_else(|| format!("https://glue.{region}.{}", dns_suffix(&region)));
        let mut signing = Layer::new("sign for Glue");
        signing.store_put(SigV4OperationSigningConfig {
            region: Some(SigningRegion::from(aws_types::region::Region::new(region))),
            region_set: None,
            name: Some(SigningName::from_static("glue")),
            signing_options: SigningOptions::default(),
        });
        signing.store_put(AuthSchemeOptionResolverParams::new(()));
        let schemes = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
        let components = RuntimeComponentsBuilder::new("Glue")
            .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(schemes)))
            .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
            .with_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(aws.credentials()))
            .with_http_client(aws.sdk.http_client())
            .with_sleep_impl(aws.sdk.sleep_impl())
            .with_time_source(aws.sdk.time_source());
        let call = Operation::builder()
            .service_name("glue")
            .operation_name("glue")
            .endpoint_url(&endpoint)
            // Retries are made in one place, and that is crate::retry.
            .no_retry()
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
            .runtime_plugin(
                StaticRuntimePlugin::new().with_config(signing.freeze()).with_runtime_components(components),
            )
            .serializer(|Request { action, body }| {
                let mut request = HttpRequest::new(SdkBody::from(body));
                request.set_method("POST")?;
                request.set_uri("/")?;
                request.headers_mut().insert("content-type", "application/x-amz-json-1.1");
                request.headers_mut().insert("x-amz-target", format!("AWSGlue.{action}"));
                Ok(request)
            })
            .deserializer(|response: &HttpResponse| -> Result<Answer, OrchestratorError<Failed>> {
                let body = response.body().bytes().unwrap_or_default();
                let body = serde_json::from_slice(body).unwrap_or(Value::Null);
                Ok(Answer { status: response.status().as_u16(), body })
            })
            .build();
        Self { database: database.to_owned(), call, tables: Mutex::default() }
    }

    async fn call(&self, action: &'static str, body: &Value) -> Result<Value, CatalogError> {
        let answer = self.call.invoke(Request { action, body: body.to_string() }).await;
        let Answer { status, body } = answer.map_err(|error| CatalogError::Transient(causes(&error)))?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let code = body["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = body["Message"].as_str().or(body["message"].as_str()).unwrap_or_default();
        let text = format!("Glue {action}: {status} {code} {message}");
        Err(match code {
            "EntityNotFoundException" => CatalogError::NoTable(text),
            "AccessDeniedException" | "InvalidInputException" | "UnrecognizedClientException" => {
                CatalogError::Refused(text)
            }
            _ => CatalogError::Transient(text),
        })
    }

    /// How a table is stored, asked for now and then.
    async fn stored(&self, table: &str) -> Result<Stored, CatalogError> {
        let mut tables = self.tables.lock().await;
        if let Some((_, stored)) = tables.get(table).filter(|(asked, _)| asked.elapsed() < TABLE_HOLDS) {
            return Ok(stored.clone());
        }
        let found = self.call("GetTable", &json!({ "DatabaseName": self.database, "Name": table })).await?;
        let projected = found["Table"]["Parameters"]["projection.enabled"].as_str();
        let stored = match projected {
            Some(enabled) if enabled.eq_ignore_ascii_case("true") => Stored::Projected,
            _ => Stored::Registered(found["Table"]["StorageDescriptor"].clone()),
        };
        tables.insert(table.to_owned(), (Instant::now(), stored.clone()));
        Ok(stored)
    }
}

#[async_trait]
impl Catalog for Glue {
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<(), CatalogError> {
        let Stored::Registered(storage) = self.stored(table).await? else { return Ok(()) };
        for batch in partitions.chunks(BATCH) {
            let inputs = batch.iter().map(|partition| {
                let mut storage = storage.clone();
                storage["Location"] = partition.location.clone().into();
                json!({ "Values": partition.values, "StorageDescriptor": storage })
            });
            let body = json!({
                "DatabaseName": self.database,
                "TableName": table,
                "PartitionInputList": inputs.collect::<Vec<_>>(),
            });
            let answer = self.call("BatchCreatePartition", &body).await?;
            let errors = answer["Errors"].as_array().map(Vec::as_slice).unwrap_or_default();
            let code = |error: &Value| error["ErrorDetail"]["ErrorCode"].as_str().unwrap_or_default().to_owned();
            if let Some(error) = errors.iter().find(|error| code(error) != "AlreadyExistsException") {
                let message = error["ErrorDetail"]["ErrorMessage"].as_str().unwrap_or_default();
                return Err(CatalogError::Transient(format!("Glue BatchCreatePartition: {} {message}", code(error))));
            }
        }
        Ok(())
    }
}

/// Of the AWS partition that a region is in: <https://docs.aws.amazon.com/general/latest/gr/glue.html>
fn dns_suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}
