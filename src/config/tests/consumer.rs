//! What may be said of how a stream is read.

use super::*;

const STREAM_ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs";

fn from_stream(stream: &str, more: &str) -> Result<Loaded, BadConfig> {
    from_file(&format!("destination = \"memory:///\"\n[source.kinesis]\nstream = \"{stream}\"\n{more}"))
}

#[test]
fn fan_out_reads_as_the_one_consumer_that_is_said() {
    let arn = format!("{STREAM_ARN}/consumer/firemain:1711083600");
    for stream in [STREAM_ARN, "app-logs"] {
        let said = from_stream(stream, &format!("mode = \"fan_out\"\nconsumer_arn = \"{arn}\"\n")).unwrap();
        let SourceConfig::Kinesis(said) = said.config.source else { panic!("another source") };
        assert_eq!(said.mode, Mode::FanOut(Consumer::Arn(arn.clone())));
    }
    let said = from_stream("app-logs", "mode = \"fan_out\"\nconsumer_name = \"firemain\"\n").unwrap();
    let SourceConfig::Kinesis(said) = said.config.source else { panic!("another source") };
    assert_eq!(said.mode, Mode::FanOut(Consumer::Name("firemain".to_owned())));
}

#[test]
fn a_consumer_goes_with_fan_out_and_there_is_one() {
    let arn = format!("consumer_arn = \"{STREAM_ARN}/consumer/firemain:1711083600\"\n");
    let name = "consumer_name = \"firemain\"\n";
    let fan_out = "mode = \"fan_out\"\n";
    let says = |stream: &str, more: String, place: &str, told: &[&str]| {
        let line = wrong(from_stream(stream, &more));
        assert!(line.starts_with(place) && told.iter().all(|part| line.contains(part)), "{line}");
    };
    let all = ["source.kinesis.mode", "source.kinesis.consumer_arn", "source.kinesis.consumer_name"];
    says("app-logs", fan_out.to_owned(), "c.toml:4:", &[all[0], all[1], all[2], "set "]);
    says("app-logs", format!("{fan_out}{arn}{name}"), "c.toml:6:", &[all[1], all[2], "remove one"]);
    says("app-logs", arn.clone(), "c.toml:4:", &[all[0], all[1], "remove it, or set"]);
    says("app-logs", format!("mode = \"polling\"\n{name}"), "c.toml:5:", &[all[0], all[2], "remove it, or set"]);
    let other = "arn:aws:kinesis:eu-west-1:210987654321:stream/app-logs";
    for stream in ["app", other] {
        says(stream, format!("{fan_out}{arn}"), "c.toml:5:", &[all[1], "source.kinesis.stream", stream]);
    }
    for bad in ["firemain", STREAM_ARN, &format!("{STREAM_ARN}/consumer/x"), &format!("{STREAM_ARN}/consumer/x:y")] {
        says("app-logs", format!("{fan_out}consumer_arn = \"{bad}\"\n"), "c.toml:5:", &[all[1], "/consumer/NAME:"]);
    }
    says("app-logs", format!("{fan_out}consumer_name = \"a b\"\n"), "c.toml:5:", &[all[2], "a consumer's name"]);
    says("app-logs", "mode = \"fanout\"\n".to_owned(), "c.toml:4:", &[all[0], "polling or fan_out"]);
}
