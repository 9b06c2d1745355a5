//! The values that were taken out of messages, as columns of Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BinaryViewArray, BooleanBuilder, Date32Builder, Float64Builder,
    Int32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, NullBufferBuilder, TimestampMillisecondBuilder,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::Fault;
use super::columnar::view;
use super::run::{Entry, Run, Value};
use crate::table::cells::Items;
use crate::table::{Schema, Source, Type};

/// A column while it is filled.
pub(super) enum Values {
    /// As views into the run's texts.
    Texts {
        views: Vec<u128>,
        nulls: NullBufferBuilder,
    },
    Bigint(Int64Builder),
    Int(Int32Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMillisecondBuilder),
    Date(Date32Builder),
    Strings(ListBuilder<BinaryBuilder>),
    StringMap(Box<MapBuilder<BinaryBuilder, BinaryBuilder>>),
}

/// What a column of this type is in Arrow. Texts are of bytes: they are UTF-8, and nobody need check it again.
pub(super) fn arrow_type(kind: Type) -> DataType {
    match kind {
        Type::String => DataType::BinaryView,
        Type::Bigint => DataType::Int64,
        Type::Int => DataType::Int32,
        Type::Double => DataType::Float64,
        Type::Boolean => DataType::Boolean,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        Type::Date => DataType::Date32,
        Type::Strings => DataType::List(Arc::new(element())),
        Type::StringMap => {
            let entry = [Field::new("key", DataType::Binary, false), Field::new("value", DataType::Binary, true)];
            DataType::Map(
                Arc::new(Field::new("key_value", DataType::Struct(entry.into_iter().collect()), false)),
                false,
            )
        }
    }
}

fn element() -> Field {
    Field::new("element", DataType::Binary, true)
}

impl Values {
    /// The columns that are taken out of messages, in the order of their cells.
    pub(super) fn of_cells(schema: &Schema, batch: &[Entry], run: &Run) -> Result<Vec<ArrayRef>, Fault> {
        let columns = schema.columns.iter().filter(|column| matches!(column.source, Source::Message { .. }));
        let mut values: Vec<Self> = columns.map(|column| Self::new(column.kind, batch.len())).collect();
        if values.is_empty() {
            return Ok(Vec::new());
        }
        for entry in batch {
            let mut cells = entry.cells(run);
            for column in &mut values {
                column.push(cells.read(), run)?;
            }
        }
        values.into_iter().map(|column| column.finish(run)).collect()
    }

    fn new(kind: Type, rows: usize) -> Self {
        match kind {
            Type::String => Self::Texts { views: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) },
            Type::Bigint => Self::Bigint(Int64Builder::with_capacity(rows)),
            Type::Int => Self::Int(Int32Builder::with_capacity(rows)),
            Type::Double => Self::Double(Float64Builder::with_capacity(rows)),
            Type::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            Type::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::with_capacity(rows).with_timezone("UTC")),
            Type::Date => Self::Date(Date32Builder::with_capacity(rows)),
            Type::Strings => Self::Strings(ListBuilder::new(BinaryBuilder::new()).with_field(element())),
            Type::StringMap => {
                let names =
                    MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
                Self::StringMap(Box::new(MapBuilder::new(Some(names), BinaryBuilder::new(), BinaryBuilder::new())))
            }
        }
    }

    fn push(&mut self, value: Value<'_>, run: &Run) -> Result<(), Fault> {
        match (self, value) {
            (Self::Texts { views, nulls }, Value::Text(span)) => {
                views.push(view(run.bytes(span), span.part, span.at));
                nulls.append_non_null();
            }
            (Self::Texts { views, nulls }, Value::Null) => {
                views.push(0);
                nulls.append_null();
            }
            (Self::Bigint(column), Value::Bigint(number)) => column.append_value(number),
            (Self::Bigint(column), Value::Null) => column.append_null(),
            (Self::Int(column), Value::Int(number)) => column.append_value(number),
            (Self::Int(column), Value::Null) => column.append_null(),
            (Self::Double(column), Value::Double(number)) => column.append_value(number),
            (Self::Double(column), Value::Null) => column.append_null(),
            (Self::Boolean(column), Value::Boolean(value)) => column.append_value(value),
            (Self::Boolean(column), Value::Null) => column.append_null(),
            (Self::Timestamp(column), Value::Timestamp(millis)) => column.append_value(millis),
            (Self::Timestamp(column), Value::Null) => column.append_null(),
            (Self::Date(column), Value::Date(days)) => column.append_value(days),
            (Self::Date(column), Value::Null) => column.append_null(),
            (Self::Strings(column), Value::Items(items)) => {
                items.for_each(|item| column.values().append_option(item));
                column.append(true);
            }
            (Self::Strings(column), Value::Null) => column.append(false),
            (Self::StringMap(column), Value::Items(items)) => {
                push_map(column, items);
                column.append(true)?;
            }
            (Self::StringMap(column), Value::Null) => column.append(false)?,
            (_, _) => return Err(Fault::Type),
        }
        Ok(())
    }

    fn finish(self, run: &Run) -> Result<ArrayRef, Fault> {
        Ok(match self {
            Self::Texts { views, mut nulls } => {
                let buffers: Arc<[Buffer]> = Arc::clone(run.texts());
                Arc::new(BinaryViewArray::try_new(ScalarBuffer::from(views), buffers, nulls.finish())?)
            }
            Self::Bigint(mut column) => ArrayBuilder::finish(&mut column),
            Self::Int(mut column) => ArrayBuilder::finish(&mut column),
            Self::Double(mut column) => ArrayBuilder::finish(&mut column),
            Self::Boolean(mut column) => ArrayBuilder::finish(&mut column),
            Self::Timestamp(mut column) => ArrayBuilder::finish(&mut column),
            Self::Date(mut column) => ArrayBuilder::finish(&mut column),
            Self::Strings(mut column) => ArrayBuilder::finish(&mut column),
            Self::StringMap(mut column) => ArrayBuilder::finish(&mut *column),
        })
    }
}

/// Keys and values by turns.
fn push_map(column: &mut MapBuilder<BinaryBuilder, BinaryBuilder>, mut items: Items<'_>) {
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        column.keys().append_value(key.unwrap_or_default());
        column.values().append_option(value);
    }
}
