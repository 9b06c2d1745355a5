use tokio::time::{Instant, timeout};

use super::*;

/// What was asked for, call by call: the table, and the first values of the partitions.
type Asked = Vec<(String, Vec<NewPartition>)>;
type Answer = Box<dyn FnMut(&str, &[NewPartition]) -> Result<Added, CatalogError> + Send>;

/// Answers as a test says, and takes note of what it was asked.
struct Scripted {
    answer: Mutex<Answer>,
    asked: Mutex<Asked>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Catalog for Scripted {
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<Added, CatalogError> {
        assert!((1..=BATCH).contains(&partitions.len()));
        self.asked.lock().unwrap().push((table.to_owned(), partitions.to_vec()));
        (self.answer.lock().unwrap())(table, partitions)
    }
}

impl Scripted {
    /// What it was asked since this was asked for.
    fn asked(&self) -> Asked {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The first values of the partitions that it was asked for since then, call by call.
    fn names(&self) -> Vec<Vec<String>> {
        let names =
            |(_, partitions): (_, Vec<NewPartition>)| partitions.into_iter().map(|p| p.values[0].clone()).collect();
        self.asked().into_iter().map(names).collect()
    }
}

/// A registrar that runs, with a catalogue that answers so.
fn start(
    answer: impl FnMut(&str, &[NewPartition]) -> Result<Added, CatalogError> + Send + 'static,
) -> (Arc<Scripted>, Arc<Registrar>) {
    let catalog = Arc::new(Scripted { answer: Mutex::new(Box::new(answer)), asked: Mutex::default() });
    let clock = Clock::simulated(1, 0);
    let registrar = Registrar::new(Arc::clone(&catalog) as Arc<dyn Catalog>, "s3://lake/logs/", "bad/ones", clock);
    let registrar = Arc::new(registrar);
    let running = Arc::clone(&registrar);
    tokio::spawn(async move { running.run().await });
    (catalog, registrar)
}

fn yes() -> Result<Added, CatalogError> {
    Ok(Added::default())
}

/// The catalogue answers so for a while, then yes.
fn first(answers: impl IntoIterator<Item = CatalogError>) -> (Arc<Scripted>, Arc<Registrar>) {
    let answers: Vec<_> = answers.into_iter().collect();
    let mut answers = answers.into_iter();
    start(move |_, _| answers.next().map_or_else(yes, Err))
}

/// Whether these are registered, or nobody waits for them, within a minute.
async fn register(registrar: &Registrar, keys: &[&str]) -> bool {
    registrar.add(keys.iter().copied());
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    timeout(Duration::from_secs(60), registrar.registered(&keys)).await.is_ok()
}

const A: &str = "log_events/log_group=%2Faws%2Fa%25b/dt=2024-03-22/hour=05/";

fn a(name: &str) -> String {
    format!("{A}{name}")
}

/// An object in a partition of this log group.
fn of(log_group: &str) -> String {
    format!("t/log_group={log_group}/dt=2024-03-22/hour=05/1.parquet")
}

#[tokio::test(start_paused = true)]
async fn each_partition_is_registered_once_with_its_values_unescaped() {
    let (catalog, registrar) = first([]);
    let rejection = "bad/ones/error=Event.Invalid/dt=2024-03-22/hour=05/3.json.gz";
    assert!(register(&registrar, &[&a("1.parquet"), &a("2.parquet"), rejection]).await);
    let partition = |values: [&str; 3], location: &str| NewPartition {
        values: values.map(str::to_owned).to_vec(),
        location: location.to_owned(),
    };
    let expected = [
        (
            "errors".to_owned(),
            vec![partition(
                ["Event.Invalid", "2024-03-22", "05"],
                "s3://lake/logs/bad/ones/error=Event.Invalid/dt=2024-03-22/hour=05/",
            )],
        ),
        ("log_events".to_owned(), vec![partition(["/aws/a%b", "2024-03-22", "05"], &format!("s3://lake/logs/{A}"))]),
    ];
    assert_eq!(catalog.asked(), expected);
    assert!(register(&registrar, &[&a("3.parquet")]).await);
    assert_eq!((catalog.asked(), registrar.backlog()), (Vec::new(), (0, 0)), "it is known");
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_for_ever() {
    let refusals = (0..100).map(|_| CatalogError::Refused("denied".into()));
    let (catalog, registrar) = first([CatalogError::Transient("throttled".into())].into_iter().chain(refusals));
    let began = Instant::now();
    assert!(!register(&registrar, &[&a("1.parquet")]).await, "not within a minute");
    assert_eq!(registrar.backlog(), (1, 0));
    registrar.registered(&[a("1.parquet")]).await;
    assert_eq!((catalog.asked().len(), registrar.backlog()), (102, (0, 0)));
    // A minute and some seconds after each refusal.
    assert!(began.elapsed() > Duration::from_secs(6000) && began.elapsed() < Duration::from_secs(7000));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_refused_does_not_hold_up_the_others() {
    let (catalog, registrar) = start(|table, _| match table {
        ERRORS => Err(CatalogError::Refused("denied".into())),
        _ => yes(),
    });
    assert!(!register(&registrar, &["bad/ones/error=X/dt=2024-03-22/hour=05/1.json.gz"]).await);
    assert!(register(&registrar, &[&a("1.parquet")]).await);
    assert!(register(&registrar, &[&of("x")]).await);
    let tables: BTreeSet<_> = catalog.asked().into_iter().map(|(table, _)| table).collect();
    assert!(tables.iter().eq([ERRORS, "log_events", "t"]), "{tables:?}");
    assert_eq!(registrar.backlog(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn each_batch_counts_and_one_partition_that_is_refused_takes_no_other_with_it() {
    // Fails every second call, refuses one partition in its answer and another by refusing the whole batch.
    let (mut calls, known) = (0, Arc::new(Mutex::new(Vec::new())));
    let knows = Arc::clone(&known);
    let (catalog, registrar) = start(move |_, partitions| {
        calls += 1;
        if calls % 2 == 0 {
            return Err(CatalogError::Transient("throttled".into()));
        }
        if partitions.iter().any(|partition| partition.values[0] == "g250") {
            return Err(CatalogError::Invalid("g250".into()));
        }
        let mut added = Added::default();
        for (at, partition) in partitions.iter().enumerate() {
            match partition.values[0].as_str() {
                "g120" => added.failed.push((at, CatalogError::Invalid("g120".into()))),
                name => knows.lock().unwrap().push(name.to_owned()),
            }
        }
        Ok(added)
    });
    let keys: Vec<_> = (0..450).map(|n| of(&format!("g{n:03}"))).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    assert!(register(&registrar, &keys).await);
    let mut known = known.lock().unwrap().clone();
    known.sort();
    let expected: Vec<_> = (0..450).filter(|n| ![120, 250].contains(n)).map(|n| format!("g{n:03}")).collect();
    assert_eq!(known, expected, "each once");
    assert!(catalog.asked().len() < 40);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_table_that_is_not_there_and_it_gets_its_partitions_when_it_comes() {
    let (catalog, registrar) = first((0..10).map(|_| CatalogError::NoTable("none".into())));
    let began = Instant::now();
    assert!(register(&registrar, &[&of("a")]).await);
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits");
    assert!(register(&registrar, &[&of("b")]).await);
    assert_eq!(
        (catalog.names(), registrar.backlog()),
        (vec![vec!["a".to_owned()]], (0, 0)),
        "not asked at each object"
    );
    // Ten pauses of up to five minutes.
    sleep(Duration::from_secs(3000)).await;
    let asked = catalog.names();
    assert_eq!((asked.len(), asked.last().unwrap().as_slice()), (10, &["a".to_owned(), "b".to_owned()][..]));
    assert!(register(&registrar, &[&of("a"), &of("c")]).await);
    assert_eq!(catalog.names(), [["c"]]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_made_again_gets_all_its_partitions_again() {
    let mut calls = 0;
    let (catalog, registrar) = start(move |_, _| {
        calls += 1;
        let made = if calls < 3 { "monday" } else { "tuesday" };
        Ok(Added { made: made.to_owned(), ..Added::default() })
    });
    for name in ["a", "b"] {
        assert!(register(&registrar, &[&of(name)]).await);
    }
    assert_eq!(catalog.names(), [["a"], ["b"]]);
    assert!(register(&registrar, &[&of("c")]).await);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(catalog.names(), [vec!["c"], vec!["a", "b"]]);
    assert!(register(&registrar, &[&of("a")]).await);
    assert!(catalog.names().is_empty(), "it is known");
}

#[tokio::test(start_paused = true)]
async fn no_more_partitions_are_kept_than_there_is_room_for_and_the_others_are_counted() {
    let (catalog, registrar) = first((0..3).map(|_| CatalogError::Refused("denied".into())));
    let keys: Vec<_> = (0..MOST_WANTED + 7).map(|n| of(&format!("g{n:05}"))).collect();
    registrar.add(keys.iter().map(String::as_str));
    registrar.add([keys[0].as_str()]);
    assert_eq!(registrar.backlog(), (MOST_WANTED, 7));
    // Nobody waits for what is not kept.
    registrar.registered(&keys[MOST_WANTED..]).await;
    registrar.registered(&keys).await;
    assert_eq!(registrar.backlog(), (0, 0));
    let known: usize = catalog.names().iter().skip(3).map(Vec::len).sum();
    assert_eq!(known, MOST_WANTED);
    // There is room again: it is wanted with the next object.
    assert!(register(&registrar, &[&keys[MOST_WANTED]]).await);
    assert_eq!(catalog.names(), [[format!("g{MOST_WANTED:05}")]]);
}
