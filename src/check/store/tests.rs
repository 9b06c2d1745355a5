use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use super::*;
use crate::check::State;

/// A store that breaks one rule.
#[derive(Debug)]
struct Odd {
    inner: InMemory,
    breaks: Breaks,
    requests: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    Nothing,
    /// `If-None-Match` is ignored.
    Conditions,
    /// What was put is not listed.
    Listing,
    /// This step is denied.
    Denies(Step),
    /// Nobody answers.
    Silent,
    /// Every other request has too many others beside it.
    Busy,
}

impl Odd {
    fn new(breaks: Breaks) -> Self {
        Self { inner: InMemory::new(), breaks, requests: AtomicUsize::new(0) }
    }

    async fn may(&self, step: Step) -> Result<()> {
        match self.breaks {
            Breaks::Silent => std::future::pending().await,
            Breaks::Denies(denied) if denied == step => Err(denial(step)),
            Breaks::Busy if self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
                Err(answer(503, "SlowDown"))
            }
            _ => Ok(()),
        }
    }

    async fn keys(&self) -> Vec<Path> {
        self.inner.list(None).map_ok(|object| object.location).try_collect().await.unwrap()
    }
}

/// As S3 has it.
fn denial(step: Step) -> object_store::Error {
    let method = if step == Step::Get { "GET" } else { "PUT" };
    let answer = format!(
        "Error performing {method} http://lake/x in 1ms - Server returned non-2xx status code: 403 Forbidden: \
         <Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    );
    object_store::Error::PermissionDenied { path: "x".to_owned(), source: answer.into() }
}

fn answer(status: u16, code: &str) -> object_store::Error {
    let text = format!(
        "Error performing PUT http://lake/x in 1ms - Server returned error response, status code: {status} x: \
         <Error><Code>{code}</Code><Message>why</Message></Error>"
    );
    object_store::Error::Generic { store: "S3", source: text.into() }
}

impl std::fmt::Display for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Odd {
    async fn put_opts(&self, at: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.may(if options.mode == PutMode::Create { Step::Create } else { Step::Overwrite }).await?;
        if self.breaks == Breaks::Conditions {
            options.mode = PutMode::Overwrite;
        }
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.may(Step::Multipart).await?;
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.may(Step::Get).await?;
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.breaks {
            Breaks::Denies(Step::Delete) => futures::stream::once(async { Err(denial(Step::Delete)) }).boxed(),
            Breaks::Silent => futures::stream::pending().boxed(),
            _ => self.inner.delete_stream(keys),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.breaks {
            Breaks::Denies(Step::List) => futures::stream::once(async { Err(denial(Step::List)) }).boxed(),
            Breaks::Listing => futures::stream::empty().boxed(),
            _ => self.inner.list(prefix),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.list(prefix).try_filter(move |object| std::future::ready(object.location > offset)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

const EVERYTHING: &[Step] =
    &[Step::Create, Step::SecondCreate, Step::Overwrite, Step::List, Step::Get, Step::Multipart, Step::Delete];

fn place(needs: &'static [Step]) -> Place {
    Place { name: "state".to_owned(), folder: Path::from("_firemain/default/state"), needs }
}

async fn tried_at(store: &Odd, place: &Place) -> (Finding, Probes) {
    let probes = Probes::default();
    let tried = attempt(store, place, false, &probes).await;
    (judged(place, &tried), probes)
}

#[tokio::test]
async fn a_store_that_does_everything_is_left_as_it_was() {
    let store = Odd::new(Breaks::Nothing);
    let (finding, probes) = tried_at(&store, &place(EVERYTHING)).await;
    let all = "create, create only once, overwrite, list, get, multipart upload, delete";
    assert_eq!(finding, Finding::ok(format!("below _firemain/default/state: {all}")));
    assert_eq!(store.keys().await, []);
    assert!(probes.keys.lock().unwrap().is_empty());
}

/// Nobody else is to stumble over a probe, and the log of snapshots lists from a number on.
#[tokio::test]
async fn names_of_probes_are_before_all_snapshots_and_hidden_from_queries() {
    let store = Odd::new(Breaks::Denies(Step::Delete));
    let place = place(EVERYTHING);
    tried_at(&store, &place).await;
    let keys = store.keys().await;
    assert_eq!(keys.len(), 1);
    assert!(keys[0].filename().unwrap().starts_with('.'), "{keys:?}");
    assert!(keys[0] < place.folder.clone().join(format!("{:020}.json", 0)), "{keys:?}");
}

#[tokio::test]
async fn each_step_that_is_denied_fails_by_itself_and_leaves_nothing() {
    for denied in EVERYTHING {
        let (step, also) = match denied {
            // It is what a first create is denied by, too.
            Step::SecondCreate => continue,
            step => (step.name(), *step == Step::Delete),
        };
        let store = Odd::new(Breaks::Denies(*denied));
        let (finding, _) = tried_at(&store, &place(EVERYTHING)).await;
        assert_eq!(finding.state, State::Failed, "{step}: {}", finding.text);
        assert!(finding.text.contains(step) && finding.text.contains("access denied"), "{}", finding.text);
        assert!(
            finding.text.contains("(AccessDenied: Access Denied)"),
            "what S3 said, without its XML: {}",
            finding.text
        );
        assert_eq!(store.keys().await.len(), usize::from(also), "{step}");
        assert_eq!(finding.text.contains("left behind: _firemain/default/state/.check-"), also, "{}", finding.text);
    }
}

#[tokio::test]
async fn what_the_service_does_not_do_there_is_a_warning() {
    let store = Odd::new(Breaks::Denies(Step::Get));
    let (finding, _) = tried_at(&store, &place(&[Step::Overwrite, Step::Multipart])).await;
    assert_eq!(finding.state, State::Warning);
    assert!(finding.text.ends_with("the service does not do that there"), "{}", finding.text);
}

#[tokio::test]
async fn a_store_that_ignores_conditions_fails() {
    let store = Odd::new(Breaks::Conditions);
    let (finding, _) = tried_at(&store, &place(EVERYTHING)).await;
    assert_eq!(finding.state, State::Failed);
    assert!(finding.text.contains("create only once: the store created one object twice"), "{}", finding.text);
    assert_eq!(store.keys().await, []);
}

#[tokio::test]
async fn a_store_that_does_not_list_what_was_put_fails() {
    let (finding, _) = tried_at(&Odd::new(Breaks::Listing), &place(EVERYTHING)).await;
    assert!(finding.state == State::Failed && finding.text.contains("is not listed"), "{}", finding.text);
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_itself_is_tried_again_and_what_does_not_is_told() {
    let (finding, _) = tried_at(&Odd::new(Breaks::Busy), &place(EVERYTHING)).await;
    assert_eq!(finding.state, State::Ok, "{}", finding.text);
    let busy = trouble(&answer(503, "SlowDown"));
    assert!(busy.is_passing && !busy.is_hopeless && busy.text == "SlowDown: why", "{busy:?}");
    assert!(!trouble(&answer(400, "InvalidRequest")).is_passing);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_tried_once() {
    let began = tokio::time::Instant::now();
    let probes = Probes::default();
    let tried = attempt(&Odd::new(Breaks::Silent), &place(EVERYTHING), false, &probes).await;
    assert!(tried.hopeless && tried.failed.len() == 1, "{tried:?}");
    assert!(began.elapsed() <= 2 * crate::check::BOUND, "{:?}", began.elapsed());
    let finding = judged(&place(EVERYTHING), &tried);
    assert!(finding.text.contains("create: can't be reached (no answer within 10 s)"), "{}", finding.text);
    assert!(finding.text.contains("; perhaps left behind: _firemain/default/state/.check-"), "{}", finding.text);
}

/// As a signal does it.
#[tokio::test]
async fn checks_that_are_ended_half_way_are_cleared_up_after() {
    let (store, probes) = (Arc::new(Odd::new(Breaks::Nothing)), Probes::default());
    let key = Path::from("a/.check-1");
    *probes.store.lock().unwrap() = Some(store.clone());
    probes.will_put(&key);
    create(store.as_ref(), &key).await.unwrap();
    assert_eq!(store.keys().await, [key]);
    assert_eq!(probes.clear().await, Vec::<String>::new());
    assert_eq!(store.keys().await, []);
    let stuck = Probes::default();
    *stuck.store.lock().unwrap() = Some(Arc::new(Odd::new(Breaks::Denies(Step::Delete))));
    stuck.will_put(&Path::from("a/.check-2"));
    assert_eq!(stuck.clear().await, ["a/.check-2"]);
}

#[test]
fn the_action_that_s3_names_goes_before_what_may_be_meant() {
    let said = "User: arn:aws:iam::1:user/u is not authorized to perform: kms:GenerateDataKey on resource: key";
    let source = format!(
        "Error performing PUT http://lake/x in 1ms - Server returned non-2xx status code: 403 Forbidden: \
         <Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"
    );
    let error = object_store::Error::PermissionDenied { path: "x".to_owned(), source: source.into() };
    let told = told(&[(Step::Create, trouble(&error)), (Step::Overwrite, trouble(&error))]);
    assert_eq!(told, format!("create, overwrite: access denied: allow kms:GenerateDataKey (AccessDenied: {said})"));
}

#[test]
fn what_is_denied_is_told_at_once_and_the_rest_by_itself() {
    let denied = |step| (step, trouble(&denial(step)));
    let other = |step| (step, Trouble::new("too slow"));
    let told = told(&[denied(Step::Create), other(Step::List), denied(Step::Get), other(Step::Multipart)]);
    assert_eq!(
        told,
        "create, get: access denied: allow s3:PutObject (and kms:GenerateDataKey where the bucket is encrypted with a key of \
         KMS), s3:GetObject and s3:ListBucket (AccessDenied: Access Denied); list, multipart upload: too slow"
    );
}

/// The folders that are tried with these rules.
fn folders(rules: &str) -> Vec<String> {
    let text = format!(
        "destination = \"memory:///\"\ngroup = \"g\"\ntable = [{rules}]\n[source.file]\npaths = [\"a\"]\n[errors]\n\
         prefix = \"bad/rows\"\n"
    );
    let loaded = crate::config::load(crate::config::layers::Layer::new(), [], Some(("c.toml", &text))).unwrap();
    let tabulator = crate::service::tabulator(&loaded).unwrap();
    places(&loaded.config, &tabulator.tables).iter().map(|place| place.folder.to_string()).collect()
}

#[test]
fn every_folder_that_is_written_is_tried() {
    let group = ["_firemain/g/state", "_firemain/g/staged", "_firemain/g/workers"];
    let with = |tables: &[&'static str]| [&group[..], tables, &["bad/rows"]].concat();
    assert_eq!(folders(""), with(&["log_events"]));
    let web = "{schema = 'apache_access', name = 'web', log_groups = ['/web/*']}";
    assert_eq!(folders(web), with(&["web", "log_events"]));
    // What no row comes into needs no leave.
    let all = "{schema = 'app_json', log_groups = ['*']}";
    assert_eq!(folders(&format!("{web}, {all}")), with(&["web", "app_json"]));
    let some = all.replace("['*']", "['*'], on_mismatch = 'log_events'");
    assert_eq!(folders(&some), with(&["app_json", "log_events"]));
}
