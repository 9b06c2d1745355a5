//! `firemain check-config`: is it valid, and what counts?

use super::{ConfigArgs, Failure};
use crate::config::Loaded;

/// A longer value pushes its origin to the right instead of all the others.
const WIDEST_VALUE: usize = 60;

/// Prints each key, its value and where it was said; a configuration that is wrong is a failure.
pub fn run(args: &ConfigArgs) -> Result<(), Failure> {
    super::print(&table(&args.load()?))
}

fn table(loaded: &Loaded) -> String {
    let rows = loaded.values.iter().map(|(key, value, origin)| (*key, value.as_str(), origin.to_string()));
    let rows: Vec<_> = std::iter::once(("key", "value", "from".to_owned())).chain(rows).collect();
    let width = |text: fn(&(&str, &str, String)) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let (key, value) = (width(|row| row.0.len()), width(|row| row.1.chars().count()).min(WIDEST_VALUE));
    let lines = rows.iter().map(|(path, text, origin)| format!("{path:key$}  {text:value$}  {origin}\n"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::layers::Layer;

    #[test]
    fn each_value_is_shown_with_its_origin_in_columns() {
        let file = "destination = \"memory:///\"\n[source.file]\npaths = [\"a b\"]\n";
        let environment = [("FIREMAIN_FLUSH__OPEN_PARTITIONS".into(), "7".into())];
        let loaded = config::load(Layer::new(), environment, Some(("c.toml", file))).unwrap();
        let expected = "\
key                           value         from
group                         \"default\"     default
lease_timeout                 \"30s\"         default
shutdown_timeout              \"110s\"        default
stuck_after                   \"10m\"         default
destination                   \"memory:///\"  c.toml:1:1
source.file.paths             [\"a b\"]       c.toml:3:1
flush.interval                \"5m\"          default
flush.buffer_bytes            \"256MiB\"      default
flush.object_bytes            \"128MiB\"      default
flush.open_partitions         7             FIREMAIN_FLUSH__OPEN_PARTITIONS
format.kind                   \"parquet\"     default
format.compression            \"zstd\"        default
format.level                  3             default
errors.prefix                 \"errors\"      default
limits.inflated_record_bytes  \"64MiB\"       default
";
        assert_eq!(table(&loaded), expected);
    }
}
