//! The text format that Prometheus reads.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write as _;

use super::measures::{BOUNDS, Sample};
use super::metrics::{About, Metrics};

/// The media type of [`render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric that has a value; each with the labels that all of them have.
pub fn render(metrics: &Metrics, labels: &[(&str, &str)]) -> String {
    let common: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let common = common.join(",");
    let mut text = String::new();
    for (about, sample) in metrics.samples() {
        family(&mut text, about, &sample, &common);
    }
    text
}

fn family(text: &mut String, about: &About, sample: &Sample, common: &str) {
    let name = format!("firemain_{}", about.prometheus);
    let head = |text: &mut String, name: &str| {
        let says = about.says.replace('\\', "\\\\");
        let _ = write!(text, "# HELP {name} {says}\n# TYPE {name} {}\n", about.kind);
    };
    let label = |key: &str, value: &str| {
        let comma = if common.is_empty() { "" } else { "," };
        format!("{common}{comma}{key}=\"{}\"", escaped(value))
    };
    match sample {
        Sample::Gauge(None) => {}
        Sample::Gauge(Some(value)) => {
            head(text, &name);
            let _ = writeln!(text, "{name}{{{common}}} {value}");
        }
        Sample::Counter(count) => {
            head(text, &format!("{name}_total"));
            let _ = writeln!(text, "{name}_total{{{common}}} {count}");
        }
        Sample::Labelled(counts) => {
            head(text, &format!("{name}_total"));
            let key = about.label.unwrap_or("kind").to_lowercase();
            for (value, count) in counts {
                let _ = writeln!(text, "{name}_total{{{}}} {count}", label(&key, value));
            }
        }
        Sample::Ratio { good, all } => {
            head(text, &format!("{name}_total"));
            for (outcome, count) in [("success", *good), ("failure", all - good)] {
                let _ = writeln!(text, "{name}_total{{{}}} {count}", label("outcome", outcome));
            }
        }
        Sample::Durations(histogram) => {
            head(text, &name);
            let mut below = 0;
            for (bound, count) in BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]).zip(histogram.counts) {
                below += count;
                let _ = writeln!(text, "{name}_bucket{{{}}} {below}", label("le", &bound));
            }
            let _ = writeln!(
                text,
                "{name}_sum{{{common}}} {}\n{name}_count{{{common}}} {}",
                histogram.sum, histogram.count
            );
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_kind_is_written_as_prometheus_wants_it() {
        let metrics = Metrics::default();
        metrics.events.add(7);
        metrics.rejections.add("Event.Invalid", 2);
        metrics.behind.set(Some(1500.0));
        metrics.puts.tried(true);
        metrics.puts.tried(false);
        metrics.commits.took(Duration::from_millis(300));
        let text = render(&metrics, &[("group", "a\"b\\c\nd")]);
        for line in [
            "# TYPE firemain_events_total counter",
            "firemain_events_total{group=\"a\\\"b\\\\c\\nd\"} 7",
            "firemain_rejections_total{group=\"a\\\"b\\\\c\\nd\",code=\"Event.Invalid\"} 2",
            "firemain_kinesis_millis_behind_latest{group=\"a\\\"b\\\\c\\nd\"} 1500",
            "firemain_delivery_to_s3_puts_total{group=\"a\\\"b\\\\c\\nd\",outcome=\"failure\"} 1",
            "firemain_commit_duration_seconds_bucket{group=\"a\\\"b\\\\c\\nd\",le=\"0.25\"} 0",
            "firemain_commit_duration_seconds_bucket{group=\"a\\\"b\\\\c\\nd\",le=\"0.5\"} 1",
            "firemain_commit_duration_seconds_bucket{group=\"a\\\"b\\\\c\\nd\",le=\"+Inf\"} 1",
            "firemain_commit_duration_seconds_sum{group=\"a\\\"b\\\\c\\nd\"} 0.3",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("open_partitions"), "nobody knows it yet");
    }
}
