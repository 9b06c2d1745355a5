//! `firemain check-config`: is it valid, and what counts?

use super::output::{Column, table};
use super::{ConfigArgs, Failure, output};
use crate::config::{Loaded, TableConfig};
use crate::service;
use crate::table::LOG_EVENTS;
use crate::table::tables::OnMismatch;

/// A longer value pushes its origin to the right instead of all the others.
const WIDEST_VALUE: usize = 60;

/// Prints each key, its value and where it was said, and which log groups go to which table; a configuration that is
/// wrong, or a schema, is a failure. What can't have been meant is a warning.
pub fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let loaded = args.load()?;
    service::tabulator(&loaded).map_err(|bad| Failure::usage(bad.to_string()))?;
    for warning in loaded.warnings() {
        eprintln!("firemain: warning: {warning}");
    }
    output::print(&format!("{}{}", values(&loaded), tables(&loaded.config.tables)))
}

fn values(loaded: &Loaded) -> String {
    let columns = [Column::left("key"), Column::left("value").at_most(WIDEST_VALUE), Column::left("from")];
    let rows = loaded
        .values
        .iter()
        .map(|(key, value, origin)| [(*key).into(), value.as_str().into(), origin.to_string().into()]);
    table(columns, rows)
}

/// The rules in their order; nothing where there are none.
fn tables(rules: &[TableConfig]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let rows = rules.iter().map(|rule| {
        let on_mismatch = match rule.on_mismatch {
            OnMismatch::Error => "",
            OnMismatch::LogEvents => " (what does not match: log_events)",
        };
        let name = rule.name.as_ref().unwrap_or(&rule.schema);
        let log_groups = format!("{}{on_mismatch}", rule.log_groups.join(", "));
        [name.as_str().into(), rule.schema.as_str().into(), log_groups.into()]
    });
    let columns = [Column::left("table"), Column::left("schema"), Column::left("log groups")];
    format!("\n{}", table(columns, rows.chain([[LOG_EVENTS, LOG_EVENTS, "all others"].map(Into::into)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::layers::Layer;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn each_value_is_shown_with_its_origin_in_columns() {
        let file = "destination = \"memory:///\"\n[source.file]\npaths = [\"a b\"]\n";
        let environment = [("FIREMAIN_FLUSH__OPEN_PARTITIONS".into(), "7".into())];
        let loaded = config::load(Layer::new(), environment, Some(("c.toml", file))).unwrap();
        let expected = "\
key                           value             from
group                         \"default\"         default
lease_timeout                 \"30s\"             default
shutdown_timeout              \"110s\"            default
stuck_after                   \"10m\"             default
destination                   \"memory:///\"      c.toml:1:1
source.file.paths             [\"a b\"]           c.toml:3:1
flush.interval                \"5m\"              default
flush.buffer_bytes            \"256MiB\"          default
flush.object_bytes            \"128MiB\"          default
flush.open_partitions         7                 FIREMAIN_FLUSH__OPEN_PARTITIONS
format.kind                   \"parquet\"         default
format.compression            \"zstd\"            default
format.level                  3                 default
errors.prefix                 \"errors\"          default
http.listen                   \"127.0.0.1:9464\"  default
metrics.prometheus            \"on\"              default
metrics.emf                   \"off\"             default
metrics.emf_interval          \"1m\"              default
limits.inflated_record_bytes  \"64MiB\"           default
";
        assert_eq!(plain(&values(&loaded)), expected);
        assert_eq!(tables(&loaded.config.tables), "");
    }

    #[test]
    fn rules_of_tables_are_shown_in_their_order() {
        let file = "destination = \"memory:///\"\nsource.file.paths = [\"a\"]\n\
            [[table]]\nschema = \"apache_access\"\nname = \"web\"\nlog_groups = [\"/a/*\", \"/b\"]\n\
            [[table]]\nschema = \"app_json\"\nlog_groups = [\"/c\"]\non_mismatch = \"log_events\"\n";
        let loaded = config::load(Layer::new(), [], Some(("c.toml", file))).unwrap();
        let expected = "
table       schema         log groups
web         apache_access  /a/*, /b
app_json    app_json       /c (what does not match: log_events)
log_events  log_events     all others
";
        assert_eq!(plain(&tables(&loaded.config.tables)), expected);
    }
}
