use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::content::{Content, Failed, Found};
use super::*;
use crate::source::Source;

const MODIFIED: Millis = 7;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn envelope(n: usize) -> Vec<u8> {
    format!(r#"{{"messageType":"DATA_MESSAGE","logGroup":"g","logEvents":[],"n":{n}}}"#).into_bytes()
}

fn page(payloads: &[Vec<u8>], arrival: impl Fn(usize) -> serde_json::Value) -> serde_json::Value {
    let record = |(n, data): (usize, &Vec<u8>)| {
        json!({"SequenceNumber": "4957", "Data": STANDARD.encode(data), "PartitionKey": format!("k{n}"),
               "ApproximateArrivalTimestamp": arrival(n)})
    };
    json!({"Records": payloads.iter().enumerate().map(record).collect::<Vec<_>>(), "MillisBehindLatest": 0})
}

fn lambda(payloads: &[Vec<u8>]) -> serde_json::Value {
    let record = |data: &Vec<u8>| {
        json!({"kinesis": {"data": STANDARD.encode(data), "partitionKey": "k", "sequenceNumber": "1",
               "approximateArrivalTimestamp": 1709157600.25}, "eventSource": "aws:kinesis"})
    };
    json!({"Records": payloads.iter().map(record).collect::<Vec<_>>()})
}

/// Hands out a few bytes at a time.
struct Trickle<'d>(&'d [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(self.0.len()).min(self.1.max(1));
        into[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

fn found(bytes: &[u8]) -> Vec<Found> {
    let mut all = Vec::new();
    Content::new(Trickle(bytes, 65_537), MODIFIED, &|| (), None)
        .read(&mut |found| {
            all.push(found);
            Ok(())
        })
        .unwrap();
    all
}

fn datas(bytes: &[u8]) -> Vec<Vec<u8>> {
    found(bytes).into_iter().map(|found| found.data.to_vec()).collect()
}

#[test]
fn every_shape_is_told_by_its_content_gzip_or_not() {
    let payloads: Vec<Vec<u8>> = (0..5).map(|n| gzip(&envelope(n))).collect();
    let numbers = page(&payloads, |n| json!(1709157600.25 + n as f64));
    let texts = page(&payloads, |_| json!("2024-02-29T00:00:00.250+02:00"));
    let lines = |values: &[serde_json::Value]| {
        values.iter().map(|value| format!("{value}\r\n")).collect::<String>().into_bytes()
    };
    let pretty = serde_json::to_vec_pretty(&numbers).unwrap();
    let marked = [b"\xef\xbb\xbf".as_slice(), &pretty].concat();
    let one_a_line: Vec<_> = payloads.chunks(1).map(|one| page(one, |_| json!(0))).collect();
    let lambda_lines = [lambda(&payloads[..2]), lambda(&payloads[2..])];
    let trimmed = lines(&lambda_lines).trim_ascii_end().to_vec();
    for shape in [pretty, marked, lines(&[texts]), lines(&one_a_line), lines(&lambda_lines), trimmed] {
        assert_eq!(datas(&shape), payloads, "{}", String::from_utf8_lossy(&shape));
        assert_eq!(datas(&gzip(&shape)), payloads, "compressed: {}", String::from_utf8_lossy(&shape));
    }
}

#[test]
fn arrival_and_key_come_from_the_records() {
    let numbers = found(page(&[b"x".to_vec()], |_| json!(1709157600.25)).to_string().as_bytes());
    let expected = Found { data: "x".into(), partition_key: Some("k0".into()), arrival: 1_709_157_600_250, flaw: None };
    assert_eq!(numbers, [expected]);
    let texts = found(page(&[b"x".to_vec()], |_| json!("2024-02-29T00:00:00.250+02:00")).to_string().as_bytes());
    assert_eq!(texts[0].arrival, 1_709_157_600_250);
    let lambda = found(lambda(&[b"x".to_vec()]).to_string().as_bytes());
    assert_eq!((lambda[0].arrival, lambda[0].partition_key.as_deref()), (1_709_157_600_250, Some("k")));
}

#[test]
fn bare_payloads_are_records_as_they_are() {
    let (plain, compressed) = (envelope(1), gzip(&envelope(1)));
    assert_eq!(datas(&plain), std::slice::from_ref(&plain));
    assert_eq!(datas(&compressed), std::slice::from_ref(&compressed), "the gzip itself is the record");
    assert_eq!(found(&compressed)[0].arrival, MODIFIED);
    let lines = [envelope(1), envelope(2), envelope(3)];
    assert_eq!(datas(&lines.join(&b'\n')), lines);
    assert_eq!(datas(&gzip(&lines.join(&b'\n'))), lines, "lines in a gzip are not one payload");
    assert!(datas(b"").is_empty() && datas(b" \n").is_empty());
}

#[test]
fn what_is_damaged_becomes_a_record_and_is_not_passed_over() {
    let whole_files: [&[u8]; 6] = [
        b"plain text\nof two lines",
        b"\x00\x01\xff",
        b"{\"messageType\": \"DATA_MESSAGE\", \"logGr",
        &gzip(b"not JSON"),
        &gzip(&envelope(1))[..30],
        b"\x1f\x8b",
    ];
    for bytes in whole_files {
        assert_eq!(datas(bytes), [bytes.to_vec()], "{bytes:?}");
    }
    let line = page(&[b"x".to_vec()], |_| json!(0)).to_string().into_bytes();
    let middle = [&line[..], b"\nrubbish\n", &line, b"\n{\"cut\": "].concat();
    assert_eq!(datas(&middle), [b"x".to_vec(), b"rubbish".to_vec(), b"x".to_vec(), b"{\"cut\": ".to_vec()]);
    let first = [b"rubbish\n", &line[..]].concat();
    assert_eq!(datas(&first), [b"rubbish".to_vec(), b"x".to_vec()]);
    let odd = json!({"Records": [{"Data": "no base64!"}, {"other": 1}, {"Data": "eA=="}, 5,
        {"Data": "eA==", "ApproximateArrivalTimestamp": "yesterday"}]})
    .to_string();
    assert_eq!(
        datas(odd.as_bytes()),
        [b"no base64!".to_vec(), b"{\"other\":1}".to_vec(), b"x".to_vec(), b"5".to_vec(), b"x".to_vec()]
    );
    let flaws: Vec<bool> = found(odd.as_bytes()).iter().map(|found| found.flaw.is_some()).collect();
    assert_eq!(flaws, [true, true, false, true, false], "a time that is none is no reason");
}

/// Lines of 3,000 bytes that do not compress, each its own payload.
fn noise(lines: u64) -> Vec<u8> {
    let mut state = 1u64;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 60) as u8 % 10)
    };
    let line = |n| format!("{{\"n\":{n},\"x\":\"{}\"}}\n", (0..3000).map(|_| digit()).collect::<String>());
    (0..lines).map(line).collect::<String>().into_bytes()
}

/// Good records first; then those that can't be trusted, each with a flaw that says why.
fn sound_and_flawed(bytes: &[u8]) -> (usize, usize, String) {
    let all = found(bytes);
    let sound = all.iter().take_while(|found| found.flaw.is_none()).count();
    let flawed = &all[sound..];
    assert!(flawed.iter().all(|found| found.flaw.is_some()));
    (sound, flawed.len(), flawed.last().map(|found| found.flaw.as_ref().unwrap().to_string()).unwrap_or_default())
}

#[test]
fn what_a_damaged_gzip_does_not_vouch_for_is_no_row() {
    let content = noise(2000);
    let lines: Vec<_> = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let whole = gzip(&content);
    assert_eq!(datas(&whole), lines);

    for cut in [whole.len() / 2, whole.len() - 8] {
        let (sound, flawed, why) = sound_and_flawed(&whole[..cut]);
        assert!((sound == 2000 || cut == whole.len() / 2) && sound > 900, "{cut}: {sound}");
        assert_eq!((flawed, why.as_str()), (1, "gzip: truncated"), "{cut}");
    }
    for byte in [whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let mut wrong = whole.clone();
        wrong[byte] ^= 0x10;
        let (sound, flawed, why) = sound_and_flawed(&wrong);
        assert!(sound == 0 && flawed > 900 && why.starts_with("gzip: "), "{byte}: {sound} {flawed} {why}");
        let behind = sound_and_flawed(&[gzip(&content), wrong].concat());
        assert_eq!((behind.0, behind.1), (2000, flawed), "the member before it is good");
    }
    let junk = [&whole[..], b"junk"].concat();
    assert_eq!(sound_and_flawed(&junk), (2000, 1, "gzip: bytes after the last member".to_owned()));
    assert_eq!(found(&junk)[2000].data, "junk");
}

#[test]
fn a_large_gzip_is_checked_before_it_is_read_where_that_can_be() {
    let mut wrong = gzip(&noise(14_000));
    assert!(wrong.len() > 17 << 20);
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let mut taken = (0, 0);
    let again = || Ok(Box::new(std::io::Cursor::new(wrong.clone())) as Box<dyn Read + Send>);
    let mut read = |again: Option<content::Again<'_>>| {
        Content::new(&wrong[..], MODIFIED, &|| (), again).read(&mut |found: Found| {
            if found.flaw.is_some() {
                taken.1 += 1
            } else {
                taken.0 += 1
            }
            Ok(())
        })
    };
    read(Some(&again)).unwrap();
    let error = read(None).unwrap_err().to_string();
    assert!(error.contains("may be wrong"), "{error}");
    assert_eq!(taken, (14_000, 14_000), "unchecked, they had been taken before the damage showed");
}

#[test]
fn a_document_larger_than_the_window_is_taken_out_record_by_record() {
    let data: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let payloads: Vec<Vec<u8>> = (0..20u8).map(|n| [&[n], &data[..]].concat()).collect();
    let document = page(&payloads, |_| json!(0)).to_string();
    assert!(document.len() > 24 << 20);
    assert!(datas(document.as_bytes()) == payloads);

    let mut taken = 0;
    let cut = Content::new(&document.as_bytes()[..document.len() - 100], MODIFIED, &|| (), None).read(&mut |_| {
        taken += 1;
        Ok(())
    });
    assert_eq!(taken, 19);
    assert!(matches!(cut, Err(Failed::Shape(_))), "{cut:?}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_however_they_come(bytes: Vec<u8>, step in 1usize..9) {
        let read = |input: Trickle<'_>| {
            let mut all = Vec::new();
            let result = Content::new(input, 0, &|| (), None).read(&mut |found| { all.push(found); Ok(()) });
            result.map(|()| all).ok()
        };
        prop_assert_eq!(read(Trickle(&bytes, step)), read(Trickle(&bytes, usize::MAX)));
    }
}

#[tokio::test]
async fn reading_goes_on_behind_any_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records");
    let payloads: Vec<Vec<u8>> = (0..9).map(|n| vec![b'0' + n; 50_000]).collect();
    std::fs::write(&path, page(&payloads, |_| json!(0)).to_string()).unwrap();
    let source = FileSource::new(&[path.display().to_string()], ReadAhead::new(1 << 20)).unwrap();
    let shard = source.shards().await.unwrap()[0].id.clone();
    for done in 0..=9u64 {
        let from = done.checked_sub(1).map_or(Position::TrimHorizon, |last| Position::After(last.into()));
        let (mut reader, mut records) = (source.open(&shard, &from).await.unwrap(), Vec::new());
        loop {
            let batch = reader.next().await.unwrap();
            records.extend(batch.records);
            if batch.at_end {
                break;
            }
        }
        let indices: Vec<u64> = records.iter().map(|record| record.sequence.index().unwrap()).collect();
        assert_eq!(indices, (done..9).collect::<Vec<_>>());
        assert!(records.iter().zip(&payloads[done as usize..]).all(|(record, data)| record.data == *data));
    }
}

#[test]
fn a_file_is_read_once_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(named("a"), "x").unwrap();
    let ids = |paths: &[String]| {
        let source = FileSource::new(paths, ReadAhead::new(1)).unwrap();
        (source.inputs.keys().map(ShardId::to_string).collect::<Vec<_>>(), source.progress.total())
    };
    assert_eq!(ids(&[named("a"), named("*"), named("./a")]), (vec![named("a")], Some(1)));
    std::os::unix::fs::symlink("a", named("b")).unwrap();
    assert_eq!(ids(&[named("b")]), (vec![named("b")], Some(1)));
    for order in [[named("a"), named("b")], [named("b"), named("a")]] {
        assert_eq!(ids(&order), (vec![named("a")], Some(1)), "the file rather than the link");
    }
}

#[tokio::test]
async fn a_file_that_holds_less_than_was_read_of_it_is_not_taken_for_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records");
    std::fs::write(&path, "{}\n{}\n").unwrap();
    let source = FileSource::new(&[path.display().to_string()], ReadAhead::new(1 << 20)).unwrap();
    let shard = source.shards().await.unwrap()[0].id.clone();
    let next = async |from: u64| source.open(&shard, &Position::After(from.into())).await.unwrap().next().await;
    assert!(next(1).await.unwrap().at_end);
    let error = next(2).await.unwrap_err().to_string();
    assert!(error.contains("2 records, but 3 were read of it before"), "{error}");
}
