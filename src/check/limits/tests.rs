use std::fs;

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use serde_json::json;

use super::*;
use crate::aws::scripted::{Reply, Scripted};
use crate::check::State;
use crate::config::layers::Layer;
use crate::config::load;

const MIB: u64 = 1 << 20;

fn config(more: &str) -> Config {
    let text = format!("destination = \"memory:///\"\nsource.file.paths = [\"a\"]\n{more}");
    load(Layer::new(), [], Some(("c.toml", &text))).unwrap().config
}

/// A file system of these files.
fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn bound(files: &[(&str, &str)]) -> Option<u64> {
    cgroup(root(files).path()).map(|limit| limit.bytes)
}

#[test]
fn the_smallest_bound_of_a_control_group_and_those_above_it_counts() {
    // In a container of its own name space.
    assert_eq!(bound(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "536870912\n")]), Some(512 * MIB));
    let nested = [
        ("proc/self/cgroup", "0::/system.slice/firemain.service\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/system.slice/firemain.service/memory.max", "max\n"),
    ];
    assert_eq!(bound(&nested), Some(1024 * MIB));
    let old = [
        ("proc/self/cgroup", "4:cpu,cpuacct:/x\n3:memory:/docker/abc\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
    ];
    assert_eq!(bound(&old), Some(256 * MIB), "from inside, the path leads nowhere");
    let none = [
        ("proc/self/cgroup", "3:memory:/\n0::/\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory.max", "max\n"),
    ];
    assert_eq!(bound(&none), None);
    assert_eq!(bound(&[]), None);
}

#[test]
fn the_memory_of_a_machine_is_read() {
    let root = root(&[("proc/meminfo", "MemTotal:        2048 kB\nMemFree:  1 kB\n")]);
    assert_eq!(machine(root.path()), Some(Limit { bytes: 2 * MIB, whose: "this machine" }));
    assert!(machine(Path::new("/")).is_some_and(|limit| limit.bytes > 64 * MIB));
}

#[test]
fn what_the_process_takes_is_what_the_documentation_says() {
    assert_eq!(needed(&config("")), 456 * MIB);
    assert_eq!(needed(&config("flush.buffer_bytes = \"64MiB\"")), 264 * MIB);
    assert_eq!(needed(&config("limits.inflated_record_bytes = \"100MiB\"")), (456 + 3 * 36) * MIB);
    assert_eq!(needed(&config("limits.inflated_record_bytes = \"1MiB\"")), 456 * MIB, "the promise is not lowered");
}

#[test]
fn memory_is_enough_or_the_keys_to_lower_are_named() {
    let limit = |mebibytes| Some(Limit { bytes: mebibytes * MIB, whose: "the container" });
    let enough = memory(limit(456), &config(""));
    assert_eq!(enough, Finding::ok("the container has 456.0 MiB, and the process takes up to 456.0 MiB"));
    let scarce = memory(limit(455), &config(""));
    assert_eq!(scarce.state, State::Failed);
    assert!(
        scarce.text.contains("`flush.buffer_bytes` 256.0 MiB") && scarce.text.contains("killed"),
        "{}",
        scarce.text
    );
    assert_eq!(memory(None, &config("")).state, State::NotChecked);
}

#[test]
fn open_files_are_enough_for_shards_and_puts() {
    assert_eq!(files(Some(1024)), Finding::ok("1,024, enough for a worker with 512 shards"));
    assert_eq!(files(None).state, State::Ok);
    let few = files(Some(256));
    assert!(few.state == State::Warning && few.text.contains("ulimit -n"), "{}", few.text);
}

#[test]
fn fargate_alone_has_a_longest_time_to_stop() {
    let task = Task { on_fargate: true, ..Task::default() };
    let late = stop(&task, Duration::from_secs(120)).unwrap();
    assert!(late.state == State::Warning && late.text.starts_with("it is 2m, and Fargate"), "{}", late.text);
    assert_eq!(stop(&task, Duration::from_secs(110)), None);
    assert_eq!(stop(&Task::default(), Duration::from_secs(3600)), None, "nobody tells");
}

#[test]
fn cpus_are_told() {
    assert_eq!(cpus(1, Some(0.25)).text, "one thread decodes and encodes; the ECS task has 0.25 vCPU");
    assert_eq!(cpus(2, None).text, "2 threads decode and encode");
}

/// As the documentation of the endpoint has it, shortened.
#[tokio::test]
async fn a_task_is_asked_for_its_limits() {
    let answer = json!({ "Cluster": "c", "LaunchType": "FARGATE", "Limits": { "CPU": 0.25, "Memory": 512 },
        "Containers": [{ "Name": "firemain", "Limits": { "CPU": 2 } }] });
    let expected = Task {
        memory: Some(Limit { bytes: 512 * MIB, whose: "the ECS task, which its containers share," }),
        cpus: Some(0.25),
        on_fargate: true,
    };
    let server = Scripted::serve(move |_| Reply::new(200, answer.to_string())).await;
    let credentials = Credentials::new("id", "secret", None, None, "test");
    let loader = aws_config::defaults(BehaviorVersion::latest()).region("eu-west-1").credentials_provider(credentials);
    let aws = Aws::new(loader.load().await).await.unwrap();
    assert_eq!(task(&format!("{}/v4/abc-123", server.url), &aws).await, Ok(expected));
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/v4/abc-123/task"));
    assert_eq!(of_task(&json!({ "LaunchType": "EC2", "Limits": {} })), Task::default());
}
