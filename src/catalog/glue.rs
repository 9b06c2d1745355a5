//! AWS Glue: two calls, over the client of the SDK without its crate for Glue, which has five times the code of the one for
//! Kinesis (docs/decisions/0010-glue-by-two-calls.md).
//!
//! Protocol: JSON 1.1, the action in `X-Amz-Target`. <https://docs.aws.amazon.com/glue/latest/webapi/WebAPI_Welcome.html>

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
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
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Catalog, CatalogError, NewPartition};
use crate::aws::{Aws, causes};

/// For one call, its answer read.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long what is known of a table counts: columns may be added to it.
const TABLE_HOLDS: Duration = Duration::from_secs(300);

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
    Registered(Map<String, Value>),
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
        let tables = || self.tables.lock().expect("no panic while it is locked");
        if let Some((_, stored)) = tables().get(table).filter(|(asked, _)| asked.elapsed() < TABLE_HOLDS) {
            return Ok(stored.clone());
        }
        let found = self.call("GetTable", &json!({ "DatabaseName": self.database, "Name": table })).await?;
        let stored = stored_as(&found["Table"]).ok_or_else(|| {
            CatalogError::NoTable(format!(
                "{}.{table} is no Hive table, such as partitions are added to",
                self.database
            ))
        })?;
        tables().insert(table.to_owned(), (Instant::now(), stored.clone()));
        Ok(stored)
    }
}

/// `None` of what is no table of files: a view, a link, or a table of another format.
fn stored_as(table: &Value) -> Option<Stored> {
    let projected = table["Parameters"]["projection.enabled"].as_str();
    if projected.is_some_and(|enabled| enabled.eq_ignore_ascii_case("true")) {
        return Some(Stored::Projected);
    }
    let storage = table["StorageDescriptor"].as_object()?;
    let library = storage.get("SerdeInfo")?.get("SerializationLibrary")?.as_str()?;
    let is_whole = !library.is_empty() && storage.get("InputFormat")?.as_str().is_some_and(|name| !name.is_empty());
    is_whole.then(|| Stored::Registered(storage.clone()))
}

fn error_of(code: &str, text: String) -> CatalogError {
    match code {
        "EntityNotFoundException" => CatalogError::NoTable(text),
        "InvalidInputException" | "ValidationException" => CatalogError::Invalid(text),
        "AccessDeniedException" | "UnrecognizedClientException" => CatalogError::Refused(text),
        _ => CatalogError::Transient(text),
    }
}

#[async_trait]
impl Catalog for Glue {
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<Vec<(usize, CatalogError)>, CatalogError> {
        let Stored::Registered(storage) = self.stored(table).await? else { return Ok(Vec::new()) };
        let inputs = partitions.iter().map(|partition| {
            let mut storage = storage.clone();
            storage.insert("Location".to_owned(), partition.location.clone().into());
            json!({ "Values": partition.values, "StorageDescriptor": storage })
        });
        let body = json!({
            "DatabaseName": self.database,
            "TableName": table,
            "PartitionInputList": inputs.collect::<Vec<_>>(),
        });
        let answer = self.call("BatchCreatePartition", &body).await?;
        let errors = answer["Errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed = errors.iter().filter_map(|error| failure(error, partitions));
        Ok(failed.collect::<BTreeMap<_, _>>().into_iter().collect())
    }
}

/// Which partition an answer says has failed, and why; `None` of one that was known before.
fn failure(error: &Value, partitions: &[NewPartition]) -> Option<(usize, CatalogError)> {
    let code = error["ErrorDetail"]["ErrorCode"].as_str().unwrap_or_default();
    if code == "AlreadyExistsException" {
        return None;
    }
    let values: Vec<_> = error["PartitionValues"].as_array()?.iter().filter_map(Value::as_str).collect();
    let at = partitions.iter().position(|partition| partition.values == values)?;
    let message = error["ErrorDetail"]["ErrorMessage"].as_str().unwrap_or_default();
    Some((at, error_of(code, format!("Glue BatchCreatePartition: {code} {message}"))))
}

/// Of the AWS partition that a region is in: <https://docs.aws.amazon.com/general/latest/gr/glue.html>
fn dns_suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_files_get_partitions() {
        let whole = json!({ "StorageDescriptor": { "InputFormat": "i", "SerdeInfo": { "SerializationLibrary": "s" }, "Columns": [] } });
        assert!(matches!(stored_as(&whole), Some(Stored::Registered(storage)) if storage.len() == 3));
        let projected = json!({ "Parameters": { "projection.enabled": "TRUE" } });
        assert!(matches!(stored_as(&projected), Some(Stored::Projected)));
        let others = [
            json!({}),
            json!({ "StorageDescriptor": "text" }),
            json!({ "StorageDescriptor": { "InputFormat": "i" } }),
            json!({ "StorageDescriptor": { "InputFormat": "", "SerdeInfo": { "SerializationLibrary": "s" } } }),
            json!({ "StorageDescriptor": { "InputFormat": "i", "SerdeInfo": {} } }),
        ];
        assert!(others.iter().all(|table| stored_as(table).is_none()));
    }

    #[test]
    fn failures_are_told_apart_and_belong_to_their_partition() {
        let partition =
            |name: &str| NewPartition { values: vec![name.to_owned(), "d".to_owned()], location: String::new() };
        let partitions = [partition("a"), partition("b"), partition("c")];
        let error = |name: &str, code: &str| json!({ "PartitionValues": [name, "d"], "ErrorDetail": { "ErrorCode": code, "ErrorMessage": "why" } });
        assert!(failure(&error("a", "AlreadyExistsException"), &partitions).is_none());
        let (at, why) = failure(&error("c", "InvalidInputException"), &partitions).unwrap();
        assert!(at == 2 && matches!(why, CatalogError::Invalid(_)));
        let (at, why) = failure(&error("b", "InternalServiceException"), &partitions).unwrap();
        assert!(
            at == 1 && matches!(&why, CatalogError::Transient(text) if text.contains("InternalServiceException why"))
        );
    }
}
