//! Who the credentials are of, and whether this machine's clock is right: by what AWS answers.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use chrono::DateTime;
use tokio::sync::OnceCell;

use super::{Finding, Topic, action_in, bounded, silence, unreachable_because};
use crate::aws::{Aws, causes, credentials_verdict};
use crate::clock::Clock;
use crate::config::Config;
use crate::event::Millis;
use crate::service;

/// A clock that is further off is warned about,
const OFF: Duration = Duration::from_secs(60);
/// and one that is so far off has its signatures refused, by all but S3, which bears 15 minutes:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const REFUSED: Duration = Duration::from_secs(300);

/// The AWS settings that the service would have.
#[derive(Debug)]
pub enum Settings {
    /// Files into a local lake.
    NotNeeded,
    /// What needs them can't be looked at.
    Missing,
    Found(Box<Found>),
}

/// Settings that are there, and who STS says that they are of.
#[derive(Debug)]
pub struct Found {
    pub aws: Aws,
    sts: aws_sdk_sts::Client,
    identity: OnceCell<Result<Identity, Miss>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    account: String,
    arn: String,
}

/// What is said of everything that needs credentials, where there are none.
pub const NO_CREDENTIALS: &str = "there are no AWS credentials to ask with, see above";

/// Region and credentials, as the service finds them; what is missing is told.
pub(super) async fn settings(config: &Config, clocks: &Clocks, topic: &Topic) -> Settings {
    match service::aws(config).await {
        Ok(Some(aws)) => {
            let client = aws_sdk_sts::config::Builder::from(&aws.sdk).retry_config(RetryConfig::standard());
            let sts = aws_sdk_sts::Client::from_conf(client.interceptor(clocks.of("STS")).build());
            Settings::Found(Box::new(Found { aws, sts, identity: OnceCell::new() }))
        }
        Ok(None) => Settings::NotNeeded,
        Err(error) => {
            topic.tell("credentials", Finding::failed(error.to_string()));
            Settings::Missing
        }
    }
}

/// Tells who the credentials are of.
pub(super) async fn check(settings: &Settings, topic: Topic) {
    if let Settings::Found(found) = settings {
        topic.tell("credentials", identity(found.identity().await, &found.aws.region));
    }
}

impl Found {
    /// The account that the credentials are of, if that is known.
    pub async fn account(&self) -> Option<&str> {
        self.identity().await.as_ref().ok().map(|identity| identity.account.as_str())
    }

    /// Asked for once.
    async fn identity(&self) -> &Result<Identity, Miss> {
        let asked = async || {
            let answer = ask(self.sts.get_caller_identity().send()).await?;
            match (answer.account, answer.arn) {
                (Some(account), Some(arn)) => Ok(Identity { account, arn }),
                _ => Err(Miss { text: "answers without saying it".to_owned(), ..Miss::default() }),
            }
        };
        self.identity.get_or_init(asked).await
    }
}

/// Judges an answer of GetCallerIdentity.
fn identity(answer: &Result<Identity, Miss>, region: &str) -> Finding {
    match answer {
        Ok(Identity { account, arn }) => Finding::ok(format!("{arn} of account {account}; region {region}")),
        Err(miss) if miss.status.is_some_and(|status| (400..500).contains(&status)) => {
            Finding::failed(format!("region {region}; {}", miss.explained("sts:GetCallerIdentity")))
        }
        // The service does not ask STS, which has an endpoint of its own in a private network.
        Err(miss) => Finding::not_checked(format!(
            "there are some, for region {region}; STS, which would say whose, {}; the service does not need it",
            miss.text
        )),
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Miss {
    /// The service's code, such as `AccessDenied`; an answer without a body has none.
    pub code: Option<String>,
    /// `None`: there was no answer.
    pub status: Option<u16>,
    /// The region that S3 says a bucket is in.
    pub region: Option<String>,
    /// What the service said, or why there was no answer.
    pub text: String,
}

impl Miss {
    fn has(&self, codes: &[&str]) -> bool {
        self.code.as_ref().is_some_and(|code| codes.contains(&code.as_str()))
    }

    /// The credentials themselves are refused, whatever they may do.
    fn is_of_credentials(&self) -> bool {
        self.has(&[
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "InvalidToken",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ])
    }

    pub fn is_denied(&self) -> bool {
        matches!(self.status, Some(401 | 403)) && !self.is_of_credentials() || self.has(&["AccessDenied"])
    }

    /// The service has no such setting.
    pub fn is_absence(&self, code: &str) -> bool {
        self.has(&[code])
    }

    /// What to do about it, and what was said.
    pub fn explained(&self, action: &str) -> String {
        let text = &self.text;
        if self.status.is_none() {
            text.clone()
        } else if self.has(&["ExpiredToken", "ExpiredTokenException"]) {
            format!("the credentials have expired: renew them ({text})")
        } else if self.is_of_credentials() {
            format!("the credentials are not accepted: check them, and this machine's clock ({text})")
        } else if self.is_denied() {
            format!("access denied: allow {} ({text})", action_in(text).unwrap_or(action))
        } else {
            text.clone()
        }
    }
}

/// Makes a call of an SDK, bounded; its client tries again what passes by itself.
pub async fn ask<T, E>(call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>) -> Result<T, Miss>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let error = match bounded(call).await {
        Some(Ok(answer)) => return Ok(answer),
        Some(Err(error)) => error,
        None => return Err(Miss { text: silence(), ..Miss::default() }),
    };
    let answer = error.raw_response();
    let header = |name| answer.and_then(|answer| answer.headers().get(name)).map(str::to_owned);
    let (code, status) = (error.code().map(str::to_owned), answer.map(|answer| answer.status().as_u16()));
    let text = match (&code, error.message(), status) {
        (Some(code), Some(message), _) => format!("{code}: {message}").replace(['\n', '\r'], " "),
        (Some(code), None, _) => code.clone(),
        (None, _, Some(200..300)) => format!("the answer is not understood ({})", causes(&error)),
        (None, _, Some(status)) => format!("HTTP status {status}"),
        (None, _, None) if credentials_verdict(&error).is_some() => causes(&error),
        (None, _, None) => unreachable_because(&causes(&error)),
    };
    Err(Miss { code, status, region: header("x-amz-bucket-region"), text })
}

/// What the clocks of services said, and this machine's at the same moment.
#[derive(Clone, Debug)]
pub struct Clocks {
    clock: Clock,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// The time of a service's clock when its answer came, to the second, and the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    service: &'static str,
    date: Millis,
    here: Millis,
}

impl Heard {
    /// How far the machine is ahead of the service, or behind.
    fn off(&self) -> Duration {
        Duration::from_millis(self.here.abs_diff(self.date))
    }
}

impl Clocks {
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), heard: Arc::default() }
    }

    /// Listens to the answers of a client.
    pub fn of(&self, service: &'static str) -> Listener {
        Listener { service, clocks: self.clone() }
    }

    /// Takes note of a `Date` header, if it is one.
    fn hear(&self, service: &'static str, date: &str) {
        let here = self.clock.now();
        if let Ok(date) = DateTime::parse_from_rfc2822(date) {
            let heard = Heard { service, date: date.timestamp_millis(), here };
            self.heard.lock().expect("no panic while it is locked").push(heard);
        }
    }

    pub(super) fn finding(&self) -> Finding {
        judged(&self.heard.lock().expect("no panic while it is locked"))
    }
}

/// Judges by the answer that came closest: one that was long in coming is off by that.
fn judged(heard: &[Heard]) -> Finding {
    let Some(closest) = heard.iter().min_by_key(|heard| heard.off()) else {
        return Finding::not_checked("no service has told the time");
    };
    let mut services: Vec<_> = heard.iter().map(|heard| heard.service).collect();
    services.sort_unstable();
    services.dedup();
    let (off, services) = (closest.off(), services.join(", "));
    // The header has whole seconds, and the answer took a while.
    if off <= OFF {
        return Finding::ok(format!("within {} s of that of {services}", off.as_secs().max(1)));
    }
    let direction = if closest.here > closest.date { "ahead of" } else { "behind" };
    let rounded = humantime::format_duration(Duration::from_secs(off.as_secs()));
    let text = format!(
        "this machine's clock is {rounded} {direction} that of {services}, and past 5 minutes signatures are refused: \
         synchronise it (NTP; on AWS 169.254.169.123)"
    );
    if off > REFUSED { Finding::failed(text) } else { Finding::warning(text) }
}

/// Reads the `Date` of each answer.
#[derive(Debug)]
pub struct Listener {
    service: &'static str,
    clocks: Clocks,
}

impl Intercept for Listener {
    fn name(&self) -> &'static str {
        "Listener"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.clocks.hear(self.service, date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    const DATE: Millis = 1_711_083_600_000;

    fn off(seconds: i64) -> Finding {
        let clock = Clock::simulated(1, DATE);
        clock.set_by(seconds * 1000);
        let clocks = Clocks::new(&clock);
        clocks.hear("S3", "Fri, 22 Mar 2024 05:00:00 GMT");
        assert_eq!(clocks.heard.lock().unwrap()[0].date, DATE);
        clocks.finding()
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_judged_by_how_far_it_is_off() {
        for (seconds, state) in [
            (0, State::Ok),
            (60, State::Ok),
            (-60, State::Ok),
            (61, State::Warning),
            (-300, State::Warning),
            (301, State::Failed),
            (-90_000, State::Failed),
        ] {
            assert_eq!(off(seconds).state, state, "{seconds}");
        }
        assert_eq!(off(0).text, "within 1 s of that of S3");
        assert!(off(421).text.starts_with("this machine's clock is 7m 1s ahead of that of S3, and past 5 minutes"));
        assert!(off(-90_000).text.starts_with("this machine's clock is 1day 1h behind that of S3"));
    }

    #[test]
    fn the_answer_that_came_soonest_says_how_far_it_is_off() {
        let heard = |service, late: Millis| Heard { service, date: DATE, here: DATE + late * 1000 };
        assert_eq!(judged(&[heard("S3", 90), heard("STS", 2)]), Finding::ok("within 2 s of that of S3, STS"));
        assert_eq!(judged(&[]), Finding::not_checked("no service has told the time"));
        let clocks = Clocks::new(&Clock::system());
        clocks.hear("S3", "yesterday");
        assert_eq!(clocks.finding().state, State::NotChecked, "no date was understood");
    }

    fn miss(code: &str, status: u16) -> Miss {
        Miss { code: Some(code.to_owned()), status: Some(status), text: format!("{code}: why"), ..Miss::default() }
    }

    #[test]
    fn whose_the_credentials_are_is_told_and_sts_is_not_needed() {
        let arn = "arn:aws:sts::123456789012:assumed-role/firemain/task".to_owned();
        let known = identity(&Ok(Identity { account: "123456789012".to_owned(), arn }), "eu-west-1");
        let text = "arn:aws:sts::123456789012:assumed-role/firemain/task of account 123456789012; region eu-west-1";
        assert_eq!(known, Finding::ok(text));
        let refused = identity(&Err(miss("InvalidClientTokenId", 403)), "eu-west-1");
        assert_eq!(refused.state, State::Failed);
        assert!(refused.text.contains("the credentials are not accepted: check them"), "{}", refused.text);
        let away = identity(&Err(Miss { text: silence(), ..Miss::default() }), "eu-west-1");
        assert_eq!(away.state, State::NotChecked);
        assert!(away.text.contains("the service does not need it"), "{}", away.text);
    }

    #[test]
    fn what_is_denied_is_told_from_credentials_that_are_refused() {
        let denied = miss("AccessDenied", 403);
        assert!(denied.is_denied());
        assert_eq!(denied.explained("s3:ListBucket"), "access denied: allow s3:ListBucket (AccessDenied: why)");
        // To HEAD there is no body.
        assert!(Miss { status: Some(403), ..Miss::default() }.is_denied());
        let expired = miss("ExpiredToken", 400);
        assert!(!expired.is_denied() && expired.explained("x").starts_with("the credentials have expired"));
        let skewed = miss("RequestTimeTooSkewed", 403);
        assert!(!skewed.is_denied() && skewed.explained("x").contains("this machine's clock"));
    }
}
