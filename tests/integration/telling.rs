//! What a run says of itself: logs as text or JSON, and metrics, each on or off; and nothing of what it delivers.

use firemain::generate::Made;
use serde_json::{Value, json};

use crate::binary::{environment, firemain, objects};
use crate::kinesis::KinesisServer;
use crate::operate::made;
use crate::s3::S3Server;

/// In everything that is delivered or rejected.
const PAYLOAD: &str = "of-my-payload";

fn envelope(events: &Value) -> Vec<u8> {
    let envelope = json!({"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/app/web", "logStream": "s",
        "subscriptionFilters": [], "logEvents": events});
    envelope.to_string().into_bytes()
}

/// Good, bad as an event, as an envelope, as JSON, and no row of its table.
fn records() -> Vec<Made> {
    let event = |timestamp: Value, message: String| json!([{"id": "1", "timestamp": timestamp, "message": message}]);
    let time = json!(1_711_083_600_000_i64);
    let datas = [
        envelope(&event(time.clone(), format!("{{\"level\": \"{PAYLOAD}\"}}"))),
        envelope(&event(json!(format!("no time {PAYLOAD}")), "x".to_owned())),
        envelope(&event(time, format!("{{\"no\": \"JSON {PAYLOAD}"))),
        json!({"messageType": format!("none {PAYLOAD}")}).to_string().into_bytes(),
        format!("no JSON {PAYLOAD}").into_bytes(),
    ];
    let (made, _) = made(datas.len() as u64 * 100);
    datas.into_iter().zip(made).map(|(data, made)| Made { data: data.into(), ..made }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_metrics_hold_nothing_of_what_is_delivered() {
    for (format, emf) in [("json", "on"), ("text", "off")] {
        let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
        kinesis.create("app-logs", 1).await;
        kinesis.put("app-logs", &records()).await;
        let mut env = environment(&s3, &kinesis);
        env.extend([
            ("FIREMAIN_TABLE", "[{schema='app_json', log_groups=['/app/*']}]"),
            ("FIREMAIN_FORMAT__KIND", "json"),
            ("FIREMAIN_FORMAT__COMPRESSION", "none"),
            ("FIREMAIN_METRICS__EMF", emf),
            ("FIREMAIN_HTTP__LISTEN", "off"),
        ]);
        let args = ["run", "--drain", "--source", "kinesis://app-logs", "--destination", "s3://lake/logs"];
        let output =
            firemain(&[&args[..], &["--log-level", "firemain=trace", "--log-format", format]].concat(), &env).await;
        let [out, log] = [&output.stdout, &output.stderr].map(|text| String::from_utf8(text.clone()).unwrap());
        assert!(output.status.success(), "{log}");
        let rejected = objects(&s3).await.into_keys().filter(|key| key.contains("/errors/")).count();
        assert!(rejected >= 3, "{rejected} error objects");
        assert!(log.contains("committed") && !log.contains(PAYLOAD), "{log}");
        assert!(!out.contains(PAYLOAD), "{out}");
        let json = |text: &str| text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok());
        assert_eq!(json(&log), format == "json", "{log}");
        assert!(out.is_empty() == (emf == "off") && json(&out), "{out}");
    }
}
