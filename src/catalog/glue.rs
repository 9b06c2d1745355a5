//! AWS Glue: three calls, over the client of the SDK without its crate for Glue, which has five times the code of the one for
//! Kinesis (docs/decisions/0010-glue-by-two-calls.md).
//!
//! Protocol: JSON 1.1, the action in `X-Amz-Target`. <https://docs.aws.amazon.com/glue/latest/webapi/WebAPI_Welcome.html>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
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

use super::{Added, Catalog, CatalogError, NewPartition};
use crate::aws::{Aws, causes};
use crate::config::GlueConfig;

/// For one call, its answer read.
const ATTEMPT: Duration = Duration::from_secs(15);
/// How long what is known of a table counts: columns may be added to it.
const TABLE_HOLDS: Duration = Duration::from_secs(300);

/// The tables of one Glue database.
#[derive(Debug)]
pub struct Glue {
    config: GlueConfig,
    call: Operation<Request, Answer, Failed>,
    /// What is known of each table. Never locked while Glue is asked.
    tables: Mutex<HashMap<String, Table>>,
}

/// A table as it was when Glue was asked.
#[derive(Clone, Debug)]
struct Table {
    asked: Instant,
    /// When it was made: one that was dropped and made again knows nothing of the partitions before.
    made: String,
    stored: Stored,
}

/// How a table is stored, which its partitions are too.
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
    pub fn new(aws: &Aws, config: &GlueConfig) -> Self {
        let (region, endpoint) = (aws.region.clone(), endpoint_of(aws));
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
        Self { config: config.clone(), call, tables: Mutex::default() }
    }

    /// Looks whether the database is there.
    pub async fn database(&self) -> Result<(), CatalogError> {
        self.call("GetDatabase", json!({ "Name": self.config.database })).await.map(drop)
    }

    /// A table as Glue has it: <https://docs.aws.amazon.com/glue/latest/webapi/API_Table.html>
    pub async fn describe(&self, name: &str) -> Result<Value, CatalogError> {
        let mut answer = self.call_of_tables("GetTable", json!({ "Name": name })).await?;
        Ok(answer["Table"].take())
    }

    async fn call_of_tables(&self, action: &'static str, mut body: Value) -> Result<Value, CatalogError> {
        body["DatabaseName"] = self.config.database.clone().into();
        self.call(action, body).await
    }

    async fn call(&self, action: &'static str, mut body: Value) -> Result<Value, CatalogError> {
        if let Some(account) = &self.config.catalog_id {
            body["CatalogId"] = account.clone().into();
        }
        let answer = self.call.invoke(Request { action, body: body.to_string() }).await;
        let Answer { status, body } = answer.map_err(|error| CatalogError::Transient(causes(&error)))?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let code = body["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = body["Message"].as_str().or(body["message"].as_str()).unwrap_or_default();
        let text = format!("Glue {action}: {status} {code} {message}");
        Err(error_of(code, text))
    }

    /// A table, asked for now and then.
    async fn table(&self, name: &str) -> Result<Table, CatalogError> {
        let known = self.tables().get(name).filter(|table| table.asked.elapsed() < TABLE_HOLDS).cloned();
        if let Some(table) = known {
            return Ok(table);
        }
        let found = self.describe(name).await.map_err(|error| match error {
            // No partition is to blame.
            CatalogError::Invalid(why) => CatalogError::Refused(why),
            other => other,
        })?;
        let table = table_of(&found).ok_or_else(|| {
            let database = &self.config.database;
            CatalogError::NoTable(format!("{database}.{name} is no Hive table, such as partitions are added to"))
        })?;
        self.tables().insert(name.to_owned(), table.clone());
        Ok(table)
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, Table>> {
        self.tables.lock().expect("no panic while it is locked")
    }
}

/// What GetTable says of a table, if it is one of files.
fn table_of(table: &Value) -> Option<Table> {
    let stored = stored_as(table)?;
    let made = format!("{}, {}", table["CreateTime"], matches!(stored, Stored::Projected));
    Some(Table { asked: Instant::now(), made, stored })
}

/// Whether queries work the partitions of a table out by themselves.
pub fn is_projected(table: &Value) -> bool {
    let projected = table["Parameters"]["projection.enabled"].as_str();
    projected.is_some_and(|enabled| enabled.eq_ignore_ascii_case("true"))
}

/// Whether partitions can be added to a table, or need not be.
pub fn is_table_of_files(table: &Value) -> bool {
    stored_as(table).is_some()
}

/// `None` of what is no table of files: a view, a link, or a table of another format.
fn stored_as(table: &Value) -> Option<Stored> {
    if is_projected(table) {
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
        "AccessDeniedException"
        | "GlueEncryptionException"
        | "InvalidSignatureException"
        | "ResourceNumberLimitExceededException"
        | "UnrecognizedClientException" => CatalogError::Refused(text),
        _ => CatalogError::Transient(text),
    }
}

#[async_trait]
impl Catalog for Glue {
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<Added, CatalogError> {
        let Table { made, stored, .. } = self.table(table).await?;
        let Stored::Registered(storage) = stored else { return Ok(Added { failed: Vec::new(), made }) };
        let inputs = partitions.iter().map(|partition| {
            let mut storage = storage.clone();
            storage.insert("Location".to_owned(), partition.location.clone().into());
            json!({ "Values": partition.values, "StorageDescriptor": storage })
        });
        let body = json!({ "TableName": table, "PartitionInputList": inputs.collect::<Vec<_>>() });
        let answer = self.call_of_tables("BatchCreatePartition", body).await.inspect_err(|error| {
            if matches!(error, CatalogError::NoTable(_)) {
                // It was dropped: what was known of it is not of the next one.
                self.tables().remove(table);
            }
        })?;
        let errors = answer["Errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed: BTreeMap<_, _> = errors.iter().filter_map(|error| failure(error, partitions)).collect();
        Ok(Added { failed: failed.into_iter().collect(), made })
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

/// The one that is set, or that of the region.
fn endpoint_of(aws: &Aws) -> String {
    let (fips, dual_stack) = (aws.sdk.use_fips(), aws.sdk.use_dual_stack());
    let usual = || endpoint(&aws.region, fips.unwrap_or_default(), dual_stack.unwrap_or_default());
    aws.endpoint("Glue").unwrap_or_else(usual)
}

/// Where Glue is: <https://docs.aws.amazon.com/general/latest/gr/glue.html>. The suffixes are those of the SDKs, by the AWS
/// partition that a region is in.
fn endpoint(region: &str, fips: bool, dual_stack: bool) -> String {
    let (suffix, dual_stack_suffix) = match region.split_once('-') {
        Some(("cn", _)) => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        Some(("eusc", _)) => ("amazonaws.eu", "api.amazonwebservices.eu"),
        Some(("us", rest)) if rest.starts_with("iso-") => ("c2s.ic.gov", "api.aws.ic.gov"),
        Some(("us", rest)) if rest.starts_with("isob-") => ("sc2s.sgov.gov", "api.aws.scloud"),
        _ => ("amazonaws.com", "api.aws"),
    };
    let service = if fips { "glue-fips" } else { "glue" };
    format!("https://{service}.{region}.{}", if dual_stack { dual_stack_suffix } else { suffix })
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;
    use crate::aws::scripted::{Reply, Scripted};

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
    fn endpoints_are_those_of_the_region_and_of_what_is_asked_for() {
        for (region, fips, dual_stack, expected) in [
            ("eu-west-1", false, false, "https://glue.eu-west-1.amazonaws.com"),
            ("us-east-1", true, false, "https://glue-fips.us-east-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "https://glue-fips.us-gov-west-1.amazonaws.com"),
            ("us-east-1", false, true, "https://glue.us-east-1.api.aws"),
            ("us-east-1", true, true, "https://glue-fips.us-east-1.api.aws"),
            ("cn-north-1", false, false, "https://glue.cn-north-1.amazonaws.com.cn"),
            ("cn-north-1", false, true, "https://glue.cn-north-1.api.amazonwebservices.com.cn"),
            ("us-iso-east-1", false, false, "https://glue.us-iso-east-1.c2s.ic.gov"),
        ] {
            assert_eq!(endpoint(region, fips, dual_stack), expected);
        }
    }

    #[test]
    fn a_table_that_was_made_again_or_is_no_longer_projected_is_another() {
        let storage = json!({ "InputFormat": "i", "SerdeInfo": { "SerializationLibrary": "s" } });
        let made = |time: f64, projected: &str| {
            let parameters = json!({ "projection.enabled": projected });
            let table = json!({ "CreateTime": time, "StorageDescriptor": storage, "Parameters": parameters });
            table_of(&table).unwrap().made
        };
        assert_eq!(made(1.5, "false"), made(1.5, "no"));
        assert_ne!(made(1.5, "false"), made(2.5, "false"));
        assert_ne!(made(1.5, "false"), made(1.5, "true"));
    }

    async fn aws(sdk: impl FnOnce(aws_config::ConfigLoader) -> aws_config::ConfigLoader) -> Aws {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let loader = aws_config::defaults(aws_config::BehaviorVersion::latest()).region("us-east-1");
        Aws::new(sdk(loader.credentials_provider(credentials)).load().await).await.unwrap()
    }

    #[tokio::test]
    async fn the_endpoint_follows_the_settings_of_aws() {
        let usual = aws(|sdk| sdk.use_fips(true).use_dual_stack(true)).await;
        assert_eq!(endpoint_of(&usual), "https://glue-fips.us-east-1.api.aws");
        let own = aws(|sdk| sdk.use_fips(true).endpoint_url("http://own.test")).await;
        assert_eq!(endpoint_of(&own), "http://own.test");
    }

    /// Answers GetTable with a table, and other calls as told, one after the other.
    async fn serve(mut others: Vec<Reply>) -> (Scripted, Glue) {
        let storage = json!({ "InputFormat": "i", "SerdeInfo": { "SerializationLibrary": "s" } });
        let table = json!({ "Table": { "CreateTime": 1, "StorageDescriptor": storage } }).to_string();
        let server = Scripted::serve(move |request| match request.action() {
            "GetTable" => Reply::new(200, table.clone()),
            _ => others.remove(0),
        });
        let server = server.await;
        let aws = aws(|sdk| sdk.endpoint_url(&server.url)).await;
        let config = GlueConfig { database: "logs".to_owned(), catalog_id: Some("123456789012".to_owned()) };
        let glue = Glue::new(&aws, &config);
        (server, glue)
    }

    #[tokio::test]
    async fn the_database_and_the_account_that_has_it_are_named_in_every_call() {
        let (server, glue) = serve(vec![Reply::new(200, r#"{"Errors":[]}"#)]).await;
        let partition = NewPartition { values: vec!["a".to_owned()], location: "s3://lake/a/".to_owned() };
        assert!(glue.add("t", &[partition]).await.unwrap().failed.is_empty());
        let requests = server.requests();
        assert_eq!(server.actions(), ["GetTable", "BatchCreatePartition"]);
        for request in requests {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!((&body["CatalogId"], &body["DatabaseName"]), (&json!("123456789012"), &json!("logs")));
        }
    }

    #[tokio::test]
    async fn a_table_that_is_gone_is_asked_for_again_and_a_bad_partition_is_no_refusal_of_all() {
        let (gone, bad) = (Reply::error(400, "EntityNotFoundException"), Reply::error(400, "InvalidInputException"));
        let (server, glue) = serve(vec![gone, bad]).await;
        assert!(matches!(glue.add("t", &[]).await, Err(CatalogError::NoTable(_))));
        assert!(matches!(glue.add("t", &[]).await, Err(CatalogError::Invalid(_))));
        assert_eq!(server.actions(), ["GetTable", "BatchCreatePartition", "GetTable", "BatchCreatePartition"]);
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
