//! The Embedded Metric Format: lines of JSON that CloudWatch Logs makes metrics of.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! The dimension is the group alone, so that workers, whose ids are new at each start, don't make metrics of their own that
//! each cost money; the worker is told beside it, for queries over the lines.

use serde_json::{Map, Value, json};

use super::measures::{Histogram, LATEST, Sample};
use super::metrics::{About, Metrics};
use crate::event::Millis;

/// In CloudWatch.
pub const NAMESPACE: &str = "Firemain";

/// Makes lines of what has changed since the lines before.
#[derive(Debug, Default)]
pub struct Emf {
    /// In the order of the list; empty at first.
    before: Vec<Sample>,
}

/// Who tells.
#[derive(Clone, Copy, Debug)]
pub struct Teller<'a> {
    pub group: &'a str,
    pub worker: &'a str,
}

impl Emf {
    /// A line for all metrics of the group, and one for each value of a label that counted something since the last call.
    pub fn lines(&mut self, metrics: &Metrics, teller: Teller<'_>, now: Millis) -> Vec<String> {
        let samples = metrics.samples();
        let (mut plain, mut labelled) = (Vec::new(), Vec::new());
        for (at, (about, sample)) in samples.iter().enumerate() {
            match (sample, self.before.get(at)) {
                (Sample::Labelled(counts), before) => {
                    let before = if let Some(Sample::Labelled(before)) = before { before.as_slice() } else { &[] };
                    let known =
                        |value: &str| before.iter().find(|(known, _)| *known == value).map_or(0, |(_, count)| *count);
                    let more = counts.iter().map(|(value, count)| (*value, count - known(value)));
                    labelled.extend(more.filter(|(_, more)| *more > 0).map(|(value, more)| (*about, value, more)));
                }
                (sample, before) => plain.extend(value(sample, before).map(|value| (*about, value))),
            }
        }
        self.before = samples.into_iter().map(|(_, sample)| sample).collect();
        let mut lines = vec![line(&plain, &[("Group", teller.group)], teller, now)];
        lines.extend(labelled.into_iter().map(|(about, value, more)| {
            let dimensions = [("Group", teller.group), (about.label.unwrap_or("Kind"), value)];
            line(&[(about, json!(more))], &dimensions, teller, now)
        }));
        lines
    }
}

/// What a metric is worth saying of, since before.
fn value(sample: &Sample, before: Option<&Sample>) -> Option<Value> {
    match (sample, before) {
        (Sample::Counter(count), Some(Sample::Counter(before))) => Some(json!(count - before)),
        (Sample::Counter(count), _) => Some(json!(count)),
        (Sample::Gauge(value), _) => value.map(|value| json!(value)),
        (Sample::Ratio { good, all }, before) => {
            let before = if let Some(Sample::Ratio { good, all }) = before { (*good, *all) } else { (0, 0) };
            let (good, all) = (good - before.0, all - before.1);
            (all > 0).then(|| json!(good as f64 / all as f64))
        }
        (Sample::Durations(histogram), before) => {
            let before = if let Some(Sample::Durations(Histogram { count, .. })) = before { *count } else { 0 };
            let new = usize::try_from(histogram.count - before).unwrap_or(LATEST).min(histogram.latest.len());
            let new = &histogram.latest[histogram.latest.len() - new..];
            (!new.is_empty()).then(|| json!(new))
        }
        (Sample::Labelled(_), _) => None,
    }
}

fn line(values: &[(&About, Value)], dimensions: &[(&str, &str)], teller: Teller<'_>, now: Millis) -> String {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let metrics: Vec<Value> =
        values.iter().map(|(about, _)| json!({ "Name": about.name, "Unit": about.unit })).collect();
    let mut line = Map::new();
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": metrics });
    line.insert("_aws".to_owned(), json!({ "Timestamp": now, "CloudWatchMetrics": [directive] }));
    line.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    line.insert("Worker".to_owned(), json!(teller.worker));
    line.extend(values.iter().map(|(about, value)| (about.name.to_owned(), value.clone())));
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TELLER: Teller<'static> = Teller { group: "g", worker: "w" };

    fn lines(emf: &mut Emf, metrics: &Metrics) -> Vec<Value> {
        emf.lines(metrics, TELLER, 1_711_083_600_000).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn counters_are_told_by_what_came_since_the_last_line() {
        let (metrics, mut emf) = (Metrics::default(), Emf::default());
        metrics.events.add(7);
        metrics.rejections.add("Event.Invalid", 2);
        metrics.puts.tried(true);
        metrics.commits.took(Duration::from_millis(300));
        let first = lines(&mut emf, &metrics);
        assert_eq!((&first[0]["Events"], &first[0]["CommitDuration"]), (&json!(7), &json!([300.0])));
        assert_eq!(first[1]["Rejections"], 2);
        assert_eq!((&first[1]["Code"], &first[1]["Group"]), (&json!("Event.Invalid"), &json!("g")));

        metrics.events.add(1);
        metrics.rejections.add("Record.TooLarge", 1);
        metrics.puts.tried(false);
        metrics.behind.set(Some(12.0));
        let second = lines(&mut emf, &metrics);
        assert_eq!((&second[0]["Events"], &second[0]["DeliveryToS3.Success"]), (&json!(1), &json!(0.0)));
        assert_eq!((second.len(), &second[1]["Code"]), (2, &json!("Record.TooLarge")));
        assert_eq!(
            (&second[0]["KinesisMillisBehindLatest"], &second[0]["CommitDuration"]),
            (&json!(12.0), &Value::Null)
        );
    }

    /// What the specification asks for: each metric that is announced is there, each dimension too, as a text; at most 100
    /// metrics.
    #[test]
    fn lines_are_as_the_specification_has_them() {
        let metrics = Metrics::default();
        metrics.rejections.add("Event.Invalid", 2);
        (0..1000).for_each(|millis| metrics.commits.took(Duration::from_millis(millis)));
        for line in lines(&mut Emf::default(), &metrics) {
            assert_eq!(line["_aws"]["Timestamp"], 1_711_083_600_000u64);
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(directive["Namespace"], NAMESPACE);
            let announced = directive["Metrics"].as_array().unwrap();
            assert!(!announced.is_empty() && announced.len() <= 100);
            for metric in announced {
                let value = &line[metric["Name"].as_str().unwrap()];
                assert!(value.is_number() || value.as_array().is_some_and(|values| values.len() <= 100), "{metric}");
                assert!(
                    ["Count", "Bytes", "Seconds", "Milliseconds", "None"].contains(&metric["Unit"].as_str().unwrap())
                );
            }
            for dimension in directive["Dimensions"][0].as_array().unwrap() {
                assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
            }
        }
    }
}
