//! Objects of a lake: Parquet, and lines of JSON.

use super::super::output::{Column, table};
use super::text::{Told, fact, first, plain, rows as shown_rows, section};
use crate::inspect::lines::Rows;
use crate::inspect::parquet::{Bounds, Parquet};
use crate::inspect::shown::{bytes, count, escaped};

/// Row groups that are listed: hundreds say no more.
const ROW_GROUPS: usize = 20;
/// A longer name pushes what is right of it, instead of all lines.
const WIDEST: usize = 40;

pub fn parquet(parquet: &Parquet) -> Told {
    let Parquet { rows, created_by, key_values, row_groups, columns, first_rows, .. } = parquet;
    if columns.is_empty() {
        return ("Parquet".to_owned(), Vec::new(), String::new());
    }
    let (groups, width) = (row_groups.len() as u64, columns.len() as u64);
    let what = format!("Parquet: {}, {}, {}", count(*rows, "row"), count(groups, "row group"), count(width, "column"));
    let mut facts = vec![fact("created by", created_by.as_deref().unwrap_or("(it does not say)"))];
    facts.extend(key_values.0.iter().map(|(name, value)| fact(name, plain(value))));
    let timestamp = columns.iter().find(|column| column.name == "timestamp").and_then(|column| column.bounds.as_ref());
    facts.extend(timestamp.map(|bounds| fact("timestamp", span(bounds))));
    let sections = [
        section("Row groups", &groups_table(parquet)),
        section("Columns", &columns_table(parquet)),
        section(&first(first_rows.len(), *rows, "row"), &shown_rows(first_rows)),
    ];
    (what, facts, sections.concat())
}

fn span(bounds: &Bounds) -> String {
    let Bounds { min, max } = bounds;
    if min == max { min.clone() } else { format!("{min} to {max}") }
}

fn groups_table(parquet: &Parquet) -> String {
    let groups = parquet.row_groups.iter().enumerate().take(ROW_GROUPS).map(|(at, group)| {
        [
            (at + 1).to_string().into(),
            count_only(group.rows).into(),
            size(group.compressed_bytes).into(),
            size(group.uncompressed_bytes).into(),
            group.timestamp.as_ref().map(span).unwrap_or_default().into(),
        ]
    });
    let columns = [
        Column::right("#"),
        Column::right("rows"),
        Column::right("compressed"),
        Column::right("uncompressed"),
        Column::left("timestamp"),
    ];
    let more = parquet.row_groups.len().saturating_sub(ROW_GROUPS);
    let more = if more == 0 { String::new() } else { format!("… and {more} more: --output json has all\n") };
    if parquet.row_groups.is_empty() { String::new() } else { table(columns, groups) + &more }
}

/// In a table the exact number says less.
fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).to_string()
}

fn count_only(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

fn columns_table(parquet: &Parquet) -> String {
    let groups = parquet.row_groups.len();
    let rows = parquet.columns.iter().map(|column| {
        let null = if column.required { "" } else { "null" };
        let bloom = match column.bloom_filters {
            0 => "no".to_owned(),
            filters if filters == groups => "yes".to_owned(),
            filters => format!("{filters} of {groups}"),
        };
        let bounds = column.bounds.as_ref().map(span).unwrap_or_default();
        [
            escaped(&column.name).into(),
            escaped(&column.parquet_type).into(),
            null.into(),
            column.compression.join(", ").to_lowercase().into(),
            size(column.compressed_bytes).into(),
            size(column.uncompressed_bytes).into(),
            bloom.into(),
            escaped(&bounds).into(),
        ]
    });
    let columns = [
        Column::left("name").at_most(WIDEST),
        Column::left("type"),
        Column::left("may be"),
        Column::left("compression"),
        Column::right("compressed"),
        Column::right("uncompressed"),
        Column::left("Bloom filter"),
        Column::left("smallest to largest"),
    ];
    table(columns, rows)
}

pub fn rows(rows: &Rows) -> Told {
    let Rows { rows: number, content_bytes, timestamps, columns, more_columns, first_rows } = rows;
    let what = format!("lines of JSON: {}, {}", count(*number, "row"), count(columns.len() as u64, "column"));
    let mut facts = vec![fact("content", bytes(*content_bytes))];
    facts.extend(
        timestamps.as_ref().map(|(min, max)| fact("timestamp", span(&Bounds { min: min.clone(), max: max.clone() }))),
    );
    let lines = columns.iter().map(|column| {
        let types: Vec<_> = column.types.iter().copied().collect();
        [escaped(&column.name).into(), types.join(", ").into(), count_only(column.rows).into()]
    });
    let heads = [Column::left("name").at_most(WIDEST), Column::left("type"), Column::right("rows with it")];
    let more = if *more_columns { "… and more\n" } else { "" };
    let listed = if columns.is_empty() { String::new() } else { table(heads, lines) + more };
    let shown = section(&first(first_rows.len(), *number, "row"), &shown_rows(first_rows));
    (what, facts, section("Columns", &listed) + &shown)
}
