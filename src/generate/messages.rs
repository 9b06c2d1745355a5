//! What applications write: access lines, JSON, stack traces, reports of functions.

use chrono::{DateTime, Utc};
use rand::Rng;
use rand::rngs::StdRng;

use crate::event::Millis;

/// One application and its log group.
#[derive(Debug)]
pub struct Application {
    pub log_group: String,
    pub log_stream: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Web,
    Service,
    Function,
    Batch,
}

const PATHS: [&str; 12] = [
    "/",
    "/cart",
    "/checkout",
    "/api/v1/orders",
    "/api/v1/users",
    "/static/app.js",
    "/static/site.css",
    "/search",
    "/login",
    "/health",
    "/api/v2/items",
    "/images/hero.webp",
];
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "curl/8.5.0",
    "ELB-HealthChecker/2.0",
];
const ACTIONS: [&str; 8] = [
    "order placed",
    "payment authorised",
    "stock reserved",
    "user signed in",
    "cache missed",
    "retrying upstream",
    "shipment booked",
    "invoice sent",
];
const ERRORS: [&str; 4] = [
    "java.lang.IllegalStateException: order already closed",
    "java.net.SocketTimeoutException: Read timed out",
    "java.sql.SQLTransientConnectionException: pool exhausted",
    "java.lang.NullPointerException: customer",
];
const CLASSES: [&str; 6] = [
    "shop.order.OrderService.close",
    "shop.order.OrderController.post",
    "shop.payment.Gateway.authorise",
    "shop.stock.Warehouse.reserve",
    "shop.http.Filter.doFilter",
    "shop.http.Server.dispatch",
];

impl Application {
    pub fn new(number: usize, rng: &mut StdRng) -> Self {
        let (kind, log_group) = match number % 4 {
            0 => (Kind::Web, format!("/ecs/web-{number}")),
            1 => (Kind::Service, format!("/ecs/orders-api-{number}")),
            2 => (Kind::Function, format!("/aws/lambda/thumbnails-{number}")),
            _ => (Kind::Batch, format!("/batch/settlement-{number}")),
        };
        let task: u128 = rng.random();
        let log_stream = match kind {
            Kind::Function => format!("2024/03/22/[$LATEST]{task:032x}"),
            _ => format!("app/main/{task:032x}"),
        };
        Self { log_group, log_stream, kind }
    }

    pub fn message(&mut self, time: Millis, rng: &mut StdRng) -> String {
        match self.kind {
            Kind::Web => access_line(time, rng),
            Kind::Service => application_json(time, rng),
            Kind::Function => function_line(rng),
            Kind::Batch if rng.random_ratio(1, 12) => stack_trace(time, rng),
            Kind::Batch => batch_line(time, rng),
        }
    }
}

fn pick<'a>(from: &[&'a str], rng: &mut StdRng) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn time(millis: Millis, format: &str) -> String {
    DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default().format(format).to_string()
}

fn access_line(at: Millis, rng: &mut StdRng) -> String {
    let (a, b, user) = (rng.random_range(1..255), rng.random_range(0..255), rng.random_range(1..100_000));
    let status = [200, 200, 200, 200, 200, 304, 302, 404, 500, 503][rng.random_range(0..10)];
    let bytes = rng.random_range(120..90_000);
    format!(
        "10.{a}.{b}.{} - - [{}] \"GET {}?u={user} HTTP/1.1\" {status} {bytes} \"https://shop.example.com{}\" \"{}\"",
        rng.random_range(1..255),
        time(at, "%d/%b/%Y:%H:%M:%S +0000"),
        pick(&PATHS, rng),
        pick(&PATHS, rng),
        pick(&AGENTS, rng),
    )
}

fn application_json(at: Millis, rng: &mut StdRng) -> String {
    let level = ["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"][rng.random_range(0..6)];
    format!(
        "{{\"time\":\"{}\",\"level\":\"{level}\",\"logger\":\"{}\",\"msg\":\"{}\",\"request_id\":\"{:032x}\",\
         \"customer\":{},\"duration_ms\":{},\"amount\":\"{}.{:02}\"}}",
        time(at, "%Y-%m-%dT%H:%M:%S%.3fZ"),
        pick(&CLASSES, rng),
        pick(&ACTIONS, rng),
        rng.random::<u128>(),
        rng.random_range(1..1_000_000),
        rng.random_range(1..4_000),
        rng.random_range(1..900),
        rng.random_range(0..100),
    )
}

fn function_line(rng: &mut StdRng) -> String {
    let id = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
    let duration = rng.random_range(2.0..900.0f64);
    match rng.random_range(0..4) {
        0 => format!("START RequestId: {id} Version: $LATEST\n"),
        1 => format!("END RequestId: {id}\n"),
        2 => format!(
            "REPORT RequestId: {id}\tDuration: {duration:.2} ms\tBilled Duration: {} ms\tMemory Size: 512 MB\t\
             Max Memory Used: {} MB\t\n",
            duration.ceil(),
            rng.random_range(80..500)
        ),
        _ => {
            format!("[INFO]\t{id}\tthumbnail {} of {} bytes", rng.random_range(1..9), rng.random_range(999..9_999_999))
        }
    }
}

fn batch_line(at: Millis, rng: &mut StdRng) -> String {
    format!(
        "{} INFO [worker-{}] {} settled account={} amount={} rows={}",
        time(at, "%Y-%m-%d %H:%M:%S,%3f"),
        rng.random_range(1..17),
        pick(&CLASSES, rng),
        rng.random_range(10_000_000..99_999_999),
        rng.random_range(1..100_000),
        rng.random_range(1..5_000),
    )
}

fn stack_trace(at: Millis, rng: &mut StdRng) -> String {
    let mut text = format!("{} ERROR [main] {}\n", time(at, "%Y-%m-%d %H:%M:%S,%3f"), pick(&ERRORS, rng));
    for _ in 0..rng.random_range(4..18) {
        let place = pick(&CLASSES, rng);
        text.push_str(&format!("\tat {place}(Shop.java:{})\n", rng.random_range(20..900)));
    }
    text
}
