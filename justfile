# What one does again and again. `just` alone lists it.

_default:
    @just --list

# What CI runs.
ci:
    .ci/run

# The tests that need Rust and nothing else.
test *args:
    cargo test {{ args }}

# The binary against real servers: Kinesis, S3 and CloudWatch Logs stand-ins, read back with DuckDB.
test-services *args:
    tests/services/run {{ args }}

# The status page in Chromium: what it shows, hostile names, contrast, phones, keys. Needs Node.js; Chromium is installed.
test-page *args:
    tests/page/run {{ args }}

# So many random histories of whole workers over a simulated stream and bucket; a failure prints its seed.
# Past some thousands, `just sim 200000 --release` is faster in spite of the build.
sim seeds="2000" *args:
    SIM_SEEDS={{ seeds }} cargo test --locked --test sim {{ args }} every_history -- --nocapture

# Decoded MB per CPU second, wall MB/s and peak memory of the release binary, from files to a local lake.
throughput *args:
    benches/throughput {{ args }}

# What is left of the throughput when each put takes 200 ms and each flush has a thousand partitions.
latency *args:
    cargo bench --bench latency -- {{ args }}

# Criterion benchmarks of decode, buffer and encode.
bench *args:
    cargo bench {{ args }}

# The image without a container engine: hadolint, the Dockerfile's steps, and what comes of them, tried. Needs root and Debian 12.
image *args:
    .ci/image {{ args }}

# The module without an account: format, validity, mocked tests, rights, settings, metrics, checkov.
test-terraform *args:
    terraform/check {{ args }}

# The module's examples on a stand-in for AWS: applied, log events delivered to named queries, destroyed. Needs Terraform.
deploy-local *args:
    terraform/tests/local/deploy {{ args }}
