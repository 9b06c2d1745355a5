//! Values of Arrow as JSON has them.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

use super::row::Row;
use super::shown::hex;

/// A row of a batch.
pub fn row(batch: &RecordBatch, at: usize) -> Result<Row, ArrowError> {
    let schema = batch.schema();
    let members = schema.fields().iter().zip(batch.columns());
    let members = members.map(|(field, column)| Ok((field.name().clone(), value(column, at)?)));
    members.collect::<Result<_, _>>().map(Row)
}

/// A value as JSON has it; what JSON has not is text.
pub fn value(array: &dyn Array, at: usize) -> Result<Value, ArrowError> {
    macro_rules! primitive {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(at).into()
        };
    }
    if array.is_null(at) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(at).into(),
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::UInt8 => primitive!(UInt8Type),
        DataType::UInt16 => primitive!(UInt16Type),
        DataType::UInt32 => primitive!(UInt32Type),
        DataType::UInt64 => primitive!(UInt64Type),
        DataType::Float32 => primitive!(Float32Type),
        DataType::Float64 => primitive!(Float64Type),
        DataType::Utf8 => array.as_string::<i32>().value(at).into(),
        DataType::Binary => binary(array.as_binary::<i32>().value(at)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            (0..items.len()).map(|at| value(&items, at)).collect::<Result<Vec<_>, _>>()?.into()
        }
        DataType::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            let members = members.map(|(field, column)| Ok((field.name().clone(), value(column, at)?)));
            Value::Object(members.collect::<Result<_, ArrowError>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut members = Map::new();
            for at in 0..entries.len() {
                let key = match value(keys, at)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                members.insert(key, value(values, at)?);
            }
            Value::Object(members)
        }
        DataType::Timestamp(unit, zone) => timestamp(array, at, *unit, zone.is_some())?,
        _ => ArrayFormatter::try_new(array, &FormatOptions::default())?.value(at).try_to_string()?.into(),
    })
}

/// As RFC 3339, with a `Z` if it is of UTC; the number where no calendar has it.
fn timestamp(array: &dyn Array, at: usize, unit: TimeUnit, is_utc: bool) -> Result<Value, ArrowError> {
    let number = cast(&array.slice(at, 1), &DataType::Int64)?.as_primitive::<Int64Type>().value(0);
    let (time, digits) = match unit {
        TimeUnit::Second => (DateTime::from_timestamp(number, 0), SecondsFormat::Secs),
        TimeUnit::Millisecond => (DateTime::from_timestamp_millis(number), SecondsFormat::Millis),
        TimeUnit::Microsecond => (DateTime::from_timestamp_micros(number), SecondsFormat::Micros),
        TimeUnit::Nanosecond => (Some(DateTime::from_timestamp_nanos(number)), SecondsFormat::Nanos),
    };
    Ok(match time.map(|time| time.to_rfc3339_opts(digits, true)) {
        Some(text) if is_utc => text.into(),
        Some(text) => text.trim_end_matches('Z').into(),
        None => number.into(),
    })
}

/// Texts that nobody has marked as such, as older writers do.
fn binary(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes).into(), Into::into)
}
