//! What this machine, or its container, gives the process: memory, CPUs, open files, time to end.

use std::path::Path;
use std::time::Duration;

use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use bytesize::ByteSize;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use super::aws::Settings;
use super::{Finding, Surroundings, Topic, bounded, grouped};
use crate::aws::{Aws, causes};
use crate::config::{Config, keys};
use crate::service;

/// What the process may take beyond `flush.buffer_bytes`.
const BEYOND: u64 = 200 << 20;
/// What one record may take: so many times `limits.inflated_record_bytes`. With its default it is a part of [`BEYOND`].
const COPIES: u64 = 3;
/// Connections and files beside one for each shard: 256 objects that are published at once, and as many again.
const FILES: u64 = 512;
/// Shards that a worker should have room for, however few there are now.
const SHARDS: u64 = 128;
/// Fargate kills a container so long after SIGTERM, at the latest:
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html#ECS-Type-ContainerDefinition-stopTimeout>
const FARGATE_STOPS: Duration = Duration::from_secs(120);

pub(super) async fn check(config: &Config, around: &Surroundings, settings: &Settings, topic: Topic) {
    let task = match (&around.ecs_metadata, settings) {
        (Some(uri), Settings::Found(found)) => match task(uri, &found.aws).await {
            Ok(task) => Some(task),
            Err(why) => {
                topic.tell("ECS task", Finding::not_checked(format!("{uri}/task: {why}")));
                None
            }
        },
        _ => None,
    };
    let task = task.unwrap_or_default();
    let limits = [task.memory, cgroup(Path::new("/")), machine(Path::new("/"))];
    topic.tell("memory", memory(limits.into_iter().flatten().min_by_key(|limit| limit.bytes), config));
    topic.tell("CPUs", cpus(service::cores(), task.cpus));
    topic.tell("open files", files(getrlimit(Resource::Nofile).current));
    if let Some(finding) = stop(&task, config.shutdown_timeout) {
        topic.tell("shutdown_timeout", finding);
    }
}

/// What Amazon ECS says of the task.
#[derive(Debug, Default, PartialEq)]
struct Task {
    memory: Option<Limit>,
    cpus: Option<f64>,
    on_fargate: bool,
}

/// A bound on the memory of the process, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    bytes: u64,
    whose: &'static str,
}

/// Asks the metadata endpoint of the task.
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html>
async fn task(uri: &str, aws: &Aws) -> Result<Task, String> {
    let components = RuntimeComponentsBuilder::new("ECS")
        .with_http_client(aws.sdk.http_client())
        .with_sleep_impl(aws.sdk.sleep_impl())
        .with_time_source(aws.sdk.time_source());
    let get = Operation::builder()
        .service_name("ecs")
        .operation_name("task")
        .endpoint_url(uri.trim_end_matches('/'))
        .no_auth()
        .no_retry()
        .runtime_plugin(StaticRuntimePlugin::new().with_runtime_components(components))
        .serializer(|()| {
            let mut request = HttpRequest::new(SdkBody::empty());
            request.set_method("GET")?;
            request.set_uri("/task")?;
            Ok(request)
        })
        .deserializer(|response: &HttpResponse| -> Result<Value, OrchestratorError<std::fmt::Error>> {
            Ok(serde_json::from_slice(response.body().bytes().unwrap_or_default()).unwrap_or(Value::Null))
        })
        .build();
    let answer = bounded(get.invoke(())).await.ok_or("no answer")?.map_err(|error| causes(&error))?;
    Ok(of_task(&answer))
}

/// Memory is told in MiB.
fn of_task(answer: &Value) -> Task {
    let limits = &answer["Limits"];
    let memory = limits["Memory"].as_u64().filter(|mebibytes| *mebibytes > 0);
    Task {
        memory: memory
            .map(|mebibytes| Limit { bytes: mebibytes << 20, whose: "the ECS task, which its containers share," }),
        cpus: limits["CPU"].as_f64().filter(|cpus| *cpus > 0.0),
        on_fargate: answer["LaunchType"].as_str() == Some("FARGATE"),
    }
}

/// The smallest bound of the control group that this process is in and of those above it, of version 2 or 1.
/// `root`: where the file system begins.
fn cgroup(root: &Path) -> Option<Limit> {
    let own = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let bounds = own.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { return None };
        let (folder, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            of if of.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        // Seen from inside a container the path may lead outside of what is mounted: then the top is the container's.
        let folders = Path::new(path.trim_start_matches('/')).ancestors();
        let bounds = folders.filter_map(|above| {
            let text = std::fs::read_to_string(root.join(folder).join(above).join(file)).ok()?;
            // Version 1 says "none" by a number that is as large as can be.
            text.trim().parse::<u64>().ok().filter(|bytes| *bytes < 1 << 60)
        });
        bounds.min()
    });
    bounds.min().map(|bytes| Limit { bytes, whose: "the container" })
}

fn machine(root: &Path) -> Option<Limit> {
    let about = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = about.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Limit { bytes: kibibytes << 10, whose: "this machine" })
}

/// What the process takes at most.
fn needed(config: &Config) -> u64 {
    let inflated = config.limits.inflated_record_bytes as u64;
    let default = keys::get("limits.inflated_record_bytes").default.and_then(|text| text.parse::<ByteSize>().ok());
    let default = default.map_or(inflated, |size| size.as_u64());
    config.flush.buffer_bytes as u64 + BEYOND + COPIES * inflated.saturating_sub(default)
}

fn memory(limit: Option<Limit>, config: &Config) -> Finding {
    let needed = needed(config);
    let (buffer, all) = (ByteSize::b(config.flush.buffer_bytes as u64), ByteSize::b(needed));
    let Some(Limit { bytes, whose }) = limit else {
        return Finding::not_checked(format!("how much there is can't be told; the process takes up to {all}"));
    };
    let there = ByteSize::b(bytes);
    if bytes >= needed {
        return Finding::ok(format!("{whose} has {there}, and the process takes up to {all}"));
    }
    let inflated = ByteSize::b(config.limits.inflated_record_bytes as u64);
    Finding::failed(format!(
        "{whose} has {there}, and the process takes up to {all} (`flush.buffer_bytes` {buffer}, `limits.inflated_record_bytes` \
         {inflated}): it would be killed; give it more memory, or set them lower"
    ))
}

fn cpus(threads: usize, of_task: Option<f64>) -> Finding {
    let threads = if threads == 1 {
        "one thread decodes and encodes".to_owned()
    } else {
        format!("{threads} threads decode and encode")
    };
    let task = of_task.map(|cpus| format!("; the ECS task has {cpus} vCPU")).unwrap_or_default();
    Finding::ok(format!("{threads}{task}"))
}

/// `None`: there is no bound.
fn files(bound: Option<u64>) -> Finding {
    match bound {
        None => Finding::ok("as many as it takes"),
        Some(bound) if bound >= FILES + SHARDS => {
            let shards = grouped(bound - FILES);
            Finding::ok(format!("{}, enough for a worker with {shards} shards", grouped(bound)))
        }
        Some(bound) => Finding::warning(format!(
            "{}, and a worker may take {FILES} and one for each shard: raise the bound (ulimit -n) to 1024 at least",
            grouped(bound)
        )),
    }
}

/// Nothing where nothing is known: ECS does not tell the container's stop timeout, but Fargate has a longest one.
fn stop(task: &Task, shutdown_timeout: Duration) -> Option<Finding> {
    (task.on_fargate && shutdown_timeout >= FARGATE_STOPS).then(|| {
        let (set, most) = (humantime::format_duration(shutdown_timeout), humantime::format_duration(FARGATE_STOPS));
        Finding::warning(format!(
            "it is {set}, and Fargate kills a container {most} after SIGTERM at the latest: set it lower, below the \
             container's stopTimeout"
        ))
    })
}

#[cfg(test)]
mod tests;
