//! `firemain run`: the main job.

use clap::Args;
use tracing::info;

use super::{ConfigArgs, Failure};
use crate::service;

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// End when everything that is there is committed and published (files end by themselves)
    #[arg(long)]
    drain: bool,
}

pub async fn run(args: RunArgs) -> Result<(), Failure> {
    let loaded = args.config.load()?;
    let report = service::run(&loaded, args.drain).await?;
    let counts = report.counts;
    info!(
        records = counts.records,
        events = counts.events,
        rejections = counts.rejections,
        control = counts.control,
        expired = report.expired,
        decoded_bytes = counts.bytes,
        commits = report.commits,
        objects = report.objects,
        bytes = report.bytes,
        "done"
    );
    Ok(())
}
