//! The Parquet schema of a table.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type as ParquetType};

use super::{Column, Schema, Type};

impl Schema {
    /// The Parquet schema: strings as annotated byte arrays, timestamps as INT64 milliseconds adjusted to UTC.
    ///
    /// # Errors
    /// When the Parquet library refuses a column, which it does for none of the types here.
    pub fn parquet(&self) -> Result<SchemaDescriptor, ParquetError> {
        let fields = self.columns.iter().map(|column| column.parquet().map(Arc::new)).collect::<Result<_, _>>()?;
        let root = ParquetType::group_type_builder(&self.name).with_fields(fields).build()?;
        Ok(SchemaDescriptor::new(Arc::new(root)))
    }
}

impl Column {
    fn parquet(&self) -> Result<ParquetType, ParquetError> {
        let (physical, logical) = match self.kind {
            Type::String => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Type::Bigint => (PhysicalType::INT64, None),
            Type::Int => (PhysicalType::INT32, None),
            Type::Double => (PhysicalType::DOUBLE, None),
            Type::Boolean => (PhysicalType::BOOLEAN, None),
            Type::Timestamp => (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Type::Date => (PhysicalType::INT32, Some(LogicalType::Date)),
            Type::Strings => {
                return self.nested(LogicalType::List, "list", vec![text("element", Repetition::OPTIONAL)?]);
            }
            Type::StringMap => {
                let entry = vec![text("key", Repetition::REQUIRED)?, text("value", Repetition::OPTIONAL)?];
                return self.nested(LogicalType::Map, "key_value", entry);
            }
        };
        ParquetType::primitive_type_builder(&self.name, physical)
            .with_logical_type(logical)
            .with_repetition(self.repetition())
            .build()
    }

    fn repetition(&self) -> Repetition {
        if self.required { Repetition::REQUIRED } else { Repetition::OPTIONAL }
    }

    /// A list or a map, in three levels:
    /// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#nested-types>
    fn nested(
        &self,
        logical: LogicalType,
        repeated: &str,
        fields: Vec<Arc<ParquetType>>,
    ) -> Result<ParquetType, ParquetError> {
        let repeated = ParquetType::group_type_builder(repeated)
            .with_repetition(Repetition::REPEATED)
            .with_fields(fields)
            .build()?;
        ParquetType::group_type_builder(&self.name)
            .with_logical_type(Some(logical))
            .with_repetition(self.repetition())
            .with_fields(vec![Arc::new(repeated)])
            .build()
    }
}

fn text(name: &str, repetition: Repetition) -> Result<Arc<ParquetType>, ParquetError> {
    let text = ParquetType::primitive_type_builder(name, PhysicalType::BYTE_ARRAY)
        .with_logical_type(Some(LogicalType::String))
        .with_repetition(repetition)
        .build()?;
    Ok(Arc::new(text))
}

#[cfg(test)]
mod tests {
    use parquet::schema::printer::print_schema;

    use super::*;

    #[test]
    fn the_parquet_schema_follows_the_file() {
        let mut text = Vec::new();
        print_schema(&mut text, Schema::log_events().parquet().unwrap().root_schema());
        let expected = "message log_events {\n  \
            REQUIRED BYTE_ARRAY event_id (STRING);\n  \
            REQUIRED INT64 timestamp (TIMESTAMP(MILLIS,true));\n  \
            REQUIRED BYTE_ARRAY message (STRING);\n  \
            OPTIONAL BYTE_ARRAY log_stream (STRING);\n  \
            OPTIONAL BYTE_ARRAY owner (STRING);\n  \
            REQUIRED INT64 ingested_at (TIMESTAMP(MILLIS,true));\n}\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
