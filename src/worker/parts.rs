//! What a worker is made of, and what comes of it.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use super::compute::Compute;
use crate::catalog::Registrar;
use crate::commit::group::GroupError;
use crate::commit::peers::About;
use crate::commit::storage::Storage;
use crate::commit::tables::{Contradiction, TableState, TableStates};
use crate::config::{FlushConfig, Format, FormatKind};
use crate::decode::{Counts, Decoder};
use crate::encode::EncodeError;
use crate::source::{Source, SourceError};
use crate::table::Schema;
use crate::table::tables::Table;
use crate::table::tabulate::Tabulator;
use crate::telemetry::Telemetry;

/// What a worker is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    pub source: Arc<dyn Source>,
    pub storage: Storage,
    pub decoder: Arc<Decoder>,
    pub tabulator: Arc<Tabulator>,
    /// Where partitions are registered, if anywhere.
    pub registrar: Option<Arc<Registrar>>,
    pub telemetry: Telemetry,
    pub settings: Settings,
}

impl Parts {
    /// All tables that rows may go to, as the group remembers them.
    pub fn table_states(&self) -> TableStates {
        let format = match self.settings.format.kind {
            FormatKind::Parquet => "parquet",
            FormatKind::Json => "json",
        };
        let state = |table: &Table| {
            let Schema { name, version, columns, .. } = &*table.schema;
            let columns = columns.iter().map(|column| (column.name.clone(), column.kind.to_string())).collect();
            let versions = BTreeMap::from([(format!("{name} v{version}"), columns)]);
            (table.name.to_string(), TableState { format: format.to_owned(), versions })
        };
        self.tabulator.tables.iter().map(state).collect()
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub group: String,
    pub lease: Duration,
    /// Snapshots of the state that collection leaves, usually [`crate::commit::log::KEPT`].
    pub snapshots_kept: usize,
    pub flush: FlushConfig,
    pub format: Format,
    /// Columns that get Bloom filters.
    pub bloom_filters: Arc<[String]>,
    /// The folder of rejections.
    pub errors: Arc<str>,
    /// End when everything that is there is committed.
    pub drain: bool,
    /// Where decoding and encoding run.
    pub compute: Compute,
    /// How long refusals are borne once the start has succeeded.
    pub stuck_after: Duration,
    pub about: About,
}

/// Why a worker ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("rows can't be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Table(#[from] Contradiction),
}

impl WorkerError {
    /// Taken for dead by another worker: nothing is lost, and a new worker may start in its place.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Group(GroupError::Fenced))
    }
}

/// What a worker did in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub counts: Counts,
    pub commits: u64,
    pub objects: u64,
    /// Bytes of objects.
    pub bytes: u64,
    /// Positions that the stream had trimmed before they were read on from: each may be a loss.
    pub expired: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, more: Self) {
        self.counts += more.counts;
        self.commits += more.commits;
        self.objects += more.objects;
        self.bytes += more.bytes;
        self.expired += more.expired;
    }
}
