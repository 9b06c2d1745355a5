//! Messages as logs have them.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

/// Makes a message of some kind.
pub type Message = fn(&mut StdRng) -> String;

pub fn access_line(rng: &mut StdRng) -> String {
    let path = ["/", "/index.html", "/api/v1/orders", "/api/v1/users/me", "/static/app.3f9d2c.js", "/health"];
    let agent = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "curl/8.5.0",
        "ELB-HealthChecker/2.0",
    ];
    format!(
        r#"10.{}.{}.{} - - [22/Mar/2024:05:{:02}:{:02} +0000] "GET {}?q={:x} HTTP/1.1" {} {} "-" "{}""#,
        rng.random::<u8>(),
        rng.random::<u8>(),
        rng.random::<u8>(),
        rng.random_range(0..60),
        rng.random_range(0..60),
        path[rng.random_range(0..path.len())],
        rng.random::<u32>(),
        [200, 200, 200, 304, 404, 500][rng.random_range(0..6)],
        rng.random_range(100..90_000),
        agent[rng.random_range(0..agent.len())],
    )
}

pub fn application_json(rng: &mut StdRng) -> String {
    let level = ["INFO", "INFO", "WARN", "ERROR"][rng.random_range(0..4)];
    json!({
        "timestamp": format!("2024-03-22T05:{:02}:{:02}.{:03}Z", rng.random_range(0..60), rng.random_range(0..60), rng.random_range(0..1000)),
        "level": level,
        "service": "checkout",
        "requestId": format!("{:032x}", rng.random::<u128>()),
        "userId": rng.random_range(1..100_000),
        "durationMs": f64::from(rng.random_range(0..500_000)) / 1000.0,
        "message": "order placed",
        "tags": ["eu-west-1", "blue"],
    })
    .to_string()
}

pub fn stack_trace(rng: &mut StdRng) -> String {
    let mut trace =
        format!("java.lang.IllegalStateException: order {} is \"closed\"\n", rng.random_range(1..1_000_000));
    for _ in 0..rng.random_range(8..24) {
        let class = ["OrderService", "PaymentClient", "RetryTemplate", "HttpServlet"][rng.random_range(0..4)];
        let line = rng.random_range(10..900);
        trace.push_str(&format!("\tat com.example.shop.{class}.invoke({class}.java:{line})\n"));
    }
    trace
}
