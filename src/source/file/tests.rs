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
    Content::new(Trickle(bytes, 65_537), MODIFIED, &|| ())
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
    let expected = Found { data: "x".into(), partition_key: Some("k0".into()), arrival: 1_709_157_600_250 };
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
    let odd = json!({"Records": [{"Data": "no base64!"}, {"other": 1}, {"Data": "eA=="}, 5]}).to_string();
    assert_eq!(
        datas(odd.as_bytes()),
        [b"no base64!".to_vec(), b"{\"other\":1}".to_vec(), b"x".to_vec(), b"5".to_vec()]
    );
}

#[test]
fn a_damaged_gzip_of_lines_gives_what_is_before_the_damage_and_the_rest() {
    let line = page(&[vec![b'x'; 3000]], |_| json!(0)).to_string() + "\n";
    let whole = gzip(line.repeat(2000).as_bytes());
    let cut = datas(&whole[..whole.len() / 2]);
    assert!(cut.len() > 100 && cut.len() < 2000, "{}", cut.len());
    assert!(cut[..cut.len() - 1].iter().all(|data| data.len() == 3000), "only the last may be damaged");
}

#[test]
fn a_document_larger_than_the_window_is_taken_out_record_by_record() {
    let data: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let payloads: Vec<Vec<u8>> = (0..20u8).map(|n| [&[n], &data[..]].concat()).collect();
    let document = page(&payloads, |_| json!(0)).to_string();
    assert!(document.len() > 24 << 20);
    assert!(datas(document.as_bytes()) == payloads);

    let mut taken = 0;
    let cut = Content::new(&document.as_bytes()[..document.len() - 100], MODIFIED, &|| ()).read(&mut |_| {
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
            let result = Content::new(input, 0, &|| ()).read(&mut |found| { all.push(found); Ok(()) });
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
fn what_matches_nothing_is_named() {
    let error = FileSource::new(&["/no/such/*.json".into()], ReadAhead::new(1)).unwrap_err().to_string();
    assert!(error.contains("/no/such/*.json"), "{error}");
}
