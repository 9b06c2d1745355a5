//! Masking speed where nothing matches, by kind of log and of rules, in bytes of messages: one core.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firemain::mask::{MaskConfig, Masker, NAMES, Scratch};
use rand::SeedableRng;
use rand::rngs::StdRng;

mod messages;

use messages::{Message, access_line, application_json, stack_trace};

const MESSAGES: usize = 20_000;
const FIELDS: [&str; 10] = [
    "password",
    "passwd",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "refresh_token",
    "api_key",
    "authorization",
    "set-cookie",
];

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn mask(criterion: &mut Criterion) {
    // Addresses are in every access line: to mask them is no search for what is rare.
    let patterns: Vec<&str> = NAMES.into_iter().filter(|name| *name != "ipv4").collect();
    let fields = MaskConfig { fields: owned(&FIELDS), ..MaskConfig::default() };
    let both = MaskConfig { patterns: owned(&patterns), ..fields.clone() };
    let patterns = MaskConfig { patterns: owned(&patterns), ..MaskConfig::default() };
    let kinds: [(&str, Message); 3] =
        [("access lines", access_line), ("application json", application_json), ("stack traces", stack_trace)];
    for (kind, message) in kinds {
        let mut rng = StdRng::seed_from_u64(1);
        let messages: Vec<String> = (0..MESSAGES).map(|_| message(&mut rng)).collect();
        let mut group = criterion.benchmark_group(format!("mask {kind}"));
        group.throughput(Throughput::Bytes(messages.iter().map(|message| message.len() as u64).sum()));
        for (rules, config) in [("fields", &fields), ("patterns", &patterns), ("fields and patterns", &both)] {
            let masker = Masker::new(config).expect("the rules are sound");
            let (mut scratch, mut out) = (Scratch::default(), Vec::new());
            group.bench_function(rules, |bencher| {
                bencher.iter(|| {
                    for message in &messages {
                        assert!(!masker.mask(&mut scratch, message.as_bytes(), &mut out), "nothing matches");
                    }
                });
            });
        }
    }
}

criterion_group!(benches, mask);
criterion_main!(benches);
