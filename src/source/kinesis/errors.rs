//! What the errors of the Kinesis API mean, and how to say them.

use std::error::Error;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::event_stream::RawMessage;

use crate::aws::{causes, credentials_verdict};
use crate::retry::Verdict;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Which call: `GetRecords`.
    pub action: &'static str,
    /// The service's code, such as `ExpiredIteratorException`.
    pub code: Option<String>,
    /// What the service says beside it.
    pub message: Option<String>,
    pub verdict: Verdict,
    /// What went wrong, in one word: for counting, one of [`STREAM_KINDS`].
    ///
    /// [`STREAM_KINDS`]: crate::telemetry::metrics::STREAM_KINDS
    pub kind: &'static str,
    /// One line for a person: what was refused and what to do about it, or else what happened.
    pub text: String,
}

impl ApiError {
    pub fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether there were too many calls, or too much was read.
    pub fn is_throttled(&self) -> bool {
        self.code.as_deref().is_some_and(is_throttling)
    }

    /// What went wrong with a call that the service has not refused: it can heal by itself.
    pub fn passing(action: &'static str, text: impl Into<String>) -> Self {
        Self { action, code: None, message: None, verdict: Verdict::Transient, kind: "server", text: text.into() }
    }
}

/// Judges the failure of a call in a region.
pub fn judge<E>(action: &'static str, region: &str, error: SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = error.code().map(str::to_owned);
    let status = error.raw_response().map(|response| response.status().as_u16());
    judged(action, region, code, status, &error)
}

/// Judges what ended a stream of events: an exception among them, or the loss of the connection.
pub fn judge_event<E>(action: &'static str, region: &str, error: SdkError<E, RawMessage>) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let named = match (error.code(), error.raw_response()) {
        (Some(code), _) => Some(code.to_owned()),
        (None, Some(RawMessage::Decoded(message))) => {
            let mut headers = message.headers().iter();
            let name = headers.find(|header| header.name().as_str() == ":exception-type");
            name.and_then(|name| Some(name.value().as_string().ok()?.as_str().to_owned()))
        }
        _ => None,
    };
    // As an answer, an exception with a name would have been told with this status.
    let status = named.as_ref().map(|_| 400);
    judged(action, region, named, status, &error)
}

fn judged<E, R>(
    action: &'static str,
    region: &str,
    code: Option<String>,
    status: Option<u16>,
    error: &SdkError<E, R>,
) -> ApiError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let message = error.message().map(str::to_owned);
    let credentials = credentials_verdict(error);
    let detail = match (&code, &message, status) {
        (Some(code), Some(message), _) => format!("{code}: {message}").replace(['\n', '\r'], " "),
        (Some(code), None, _) => code.clone(),
        (None, _, Some(status)) => format!("HTTP status {status}: {}", causes(error)),
        (None, _, None) => causes(error),
    };
    let verdict = credentials.unwrap_or_else(|| verdict(code.as_deref(), status));
    let advice = match credentials {
        Some(_) => Some("no AWS credentials any more".to_owned()),
        None => advice(action, region, code.as_deref(), status),
    };
    let text = advice.map_or(detail.clone(), |advice| format!("{advice} ({detail})"));
    let kind = match credentials {
        Some(_) => "credentials",
        None => kind(code.as_deref(), status, verdict, error),
    };
    ApiError { action, code, message, verdict, kind, text }
}

fn kind<E, R>(code: Option<&str>, status: Option<u16>, verdict: Verdict, error: &SdkError<E, R>) -> &'static str {
    let timed_out = matches!(error, SdkError::TimeoutError(_))
        || matches!(error, SdkError::DispatchFailure(failure) if failure.is_timeout());
    match (code, status, verdict) {
        (Some(code), ..) if is_throttling(code) => "throttled",
        (_, Some(429), _) => "throttled",
        (Some(code), ..) if code.contains("AccessDenied") => "denied",
        (_, Some(401 | 403), _) => "denied",
        (_, _, Verdict::Refused) => "refused",
        (_, None, _) if timed_out => "timeout",
        (_, None, _) => "connection",
        (_, Some(408), _) => "timeout",
        _ => "server",
    }
}

fn is_throttling(code: &str) -> bool {
    ["ProvisionedThroughputExceededException", "LimitExceededException"].contains(&code) || code.contains("Throttl")
}

/// What an answer lets its caller do. No answer at all (timeouts, connections, TLS) can heal by itself.
/// Codes: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html#API_GetRecords_Errors> and
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
fn verdict(code: Option<&str>, status: Option<u16>) -> Verdict {
    // Throttling and what passes are told as 400 too: here the code counts.
    const PASSING: [&str; 10] = [
        "ProvisionedThroughputExceeded",
        "LimitExceeded",
        "ResourceInUse",
        "Throttl",
        "SlowDown",
        "ExpiredIterator",
        "ExpiredNextToken",
        "InternalFailure",
        "ServiceUnavailable",
        "RequestTimeout",
    ];
    match status {
        _ if code.is_some_and(|code| PASSING.iter().any(|passing| code.contains(passing))) => Verdict::Transient,
        Some(408 | 425 | 429) => Verdict::Transient,
        Some(300..=499) => Verdict::Refused,
        _ => Verdict::Transient,
    }
}

fn advice(action: &str, region: &str, code: Option<&str>, status: Option<u16>) -> Option<String> {
    Some(match code {
        Some("ResourceNotFoundException") if matches!(action, "SubscribeToShard" | "DescribeStreamConsumer") => {
            format!(
                "no such consumer, stream or shard in {region}: check `source.kinesis.consumer_arn`; a consumer that is \
                 given by name is registered again at the next start"
            )
        }
        Some("ResourceNotFoundException") => {
            format!("no such stream or shard in {region}: check `source.kinesis.stream`, the region and the account")
        }
        Some("KMSAccessDeniedException") => "access denied: allow kms:Decrypt with the key of the stream".to_owned(),
        Some(code) if code.starts_with("KMS") && !code.contains("Throttl") => {
            "the key that the stream is encrypted with can't be used: check its state in KMS".to_owned()
        }
        Some("AccessDeniedException" | "AccessDenied" | "OptInRequired" | "NotAuthorized") => {
            format!("access denied: allow kinesis:{action} for the {}", resource(action))
        }
        Some("InvalidSignatureException") => {
            "the credentials are not accepted: check the secret key, and this machine's clock".to_owned()
        }
        Some(
            "UnrecognizedClientException"
            | "ExpiredTokenException"
            | "ExpiredToken"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException",
        ) => "the credentials are not accepted: renew them, and check that they are of this account".to_owned(),
        None if matches!(status, Some(401 | 403)) => {
            format!("access denied: allow kinesis:{action} for the {}", resource(action))
        }
        _ => return None,
    })
}

/// What a permission for a call is given on.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/kcl-iam-permissions.html>
fn resource(action: &str) -> &'static str {
    if matches!(action, "SubscribeToShard" | "DescribeStreamConsumer") { "stream's consumer" } else { "stream" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_says_no() {
        use Verdict::{Refused, Transient};
        let told = [
            (Some("ProvisionedThroughputExceededException"), Some(400), Transient),
            (Some("KMSThrottlingException"), Some(400), Transient),
            (Some("ThrottlingException"), Some(400), Transient),
            (Some("ResourceInUseException"), Some(400), Transient),
            (Some("LimitExceededException"), Some(400), Transient),
            (Some("InternalFailure"), Some(500), Transient),
            (None, Some(503), Transient),
            (None, Some(429), Transient),
            (None, None, Transient),
            (Some("AccessDeniedException"), Some(400), Refused),
            (Some("KMSAccessDeniedException"), Some(400), Refused),
            (Some("KMSDisabledException"), Some(400), Refused),
            (Some("ExpiredTokenException"), Some(400), Refused),
            (Some("UnrecognizedClientException"), Some(400), Refused),
            (Some("InvalidSignatureException"), Some(403), Refused),
            (Some("ResourceNotFoundException"), Some(400), Refused),
            (None, Some(403), Refused),
            (None, Some(301), Refused),
        ];
        for (code, status, expected) in told {
            assert_eq!(verdict(code, status), expected, "{code:?} {status:?}");
        }
    }

    #[test]
    fn advice_names_the_permission() {
        let denied = advice("GetRecords", "eu-west-1", Some("AccessDeniedException"), Some(400)).unwrap();
        assert!(denied.contains("access denied") && denied.contains("kinesis:GetRecords"), "{denied}");
        let absent = advice("ListShards", "eu-west-1", Some("ResourceNotFoundException"), Some(400)).unwrap();
        assert!(absent.contains("no such stream") && absent.contains("eu-west-1"), "{absent}");
        let denied = advice("SubscribeToShard", "eu-west-1", Some("AccessDeniedException"), Some(400)).unwrap();
        assert!(denied.contains("kinesis:SubscribeToShard for the stream's consumer"), "{denied}");
        let absent = advice("SubscribeToShard", "eu-west-1", Some("ResourceNotFoundException"), Some(400)).unwrap();
        assert!(absent.contains("consumer_arn") && absent.contains("eu-west-1"), "{absent}");
        assert_eq!(advice("GetRecords", "x", Some("ThrottlingException"), Some(400)), None);
    }
}
