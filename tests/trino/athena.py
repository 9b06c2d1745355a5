"""The DDL for Athena, which no engine here runs: read by a parser, and compared with the Glue table of the same."""
import json

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from servers import BUCKET
from tables import firemain

SERDES = {"STORED AS PARQUET": ("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"),
          "STORED AS TEXTFILE": ("org.openx.data.jsonserde.JsonSerDe", "org.apache.hadoop.mapred.TextInputFormat",
                                 "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat")}


def same_as_glue(case, tables):
    """Columns, comments, partitions, location, serde and properties."""
    statements = compared = 0
    for name, schema in tables:
        for kind in ("parquet", "json"):
            for partitions in ("registered", "projected"):
                args = [schema, "--table", name, "--location", f"s3://{BUCKET}/lake/{name}/", "--format", kind,
                        "--partitions", partitions]
                ddl = read(firemain(case, "schema", "ddl", *args, "--dialect", "athena"))
                glue = of_glue(json.loads(firemain(case, "schema", "glue", *args)))
                assert ddl.keys() == glue.keys()
                for part, value in glue.items():
                    assert ddl[part] == value, f"{name}, {kind}, {partitions}: {part}: {ddl[part]}, in Glue {value}"
                    compared += len(value) if isinstance(value, (list, dict)) else 1
                statements += 1
    return f"{statements} statements, {compared} parts of them as in Glue"


def of_glue(table):
    def fields(columns):
        return [(column["Name"], column["Type"], column.get("Comment", "")) for column in columns]

    storage = table["StorageDescriptor"]
    properties = {key: value for key, value in table["Parameters"].items() if key != "EXTERNAL"}
    return {"external": table["Parameters"].get("EXTERNAL") == "TRUE" and table["TableType"] == "EXTERNAL_TABLE",
            "name": table["Name"], "comment": table["Description"], "columns": fields(storage["Columns"]),
            "partitions": fields(table["PartitionKeys"]), "location": storage["Location"],
            "storage": (storage["SerdeInfo"]["SerializationLibrary"], storage["InputFormat"], storage["OutputFormat"]),
            "properties": properties}


def read(ddl):
    """The same parts of a statement."""
    try:
        [create] = [statement for statement in sqlglot.parse(ddl, dialect="athena") if statement]
    except ParseError as error:
        place = error.errors[0]
        line = ddl.splitlines()[place["line"] - 1].strip()
        raise AssertionError(f"{place['description']} at column {place['col']} of: {line}") from None
    assert isinstance(create, exp.Create) and create.kind == "TABLE", repr(create)
    parts = {"external": False, "properties": {}, "comment": ""}
    serde = stored = None
    for its in create.args["properties"].expressions:
        if isinstance(its, exp.ExternalProperty):
            parts["external"] = True
        elif isinstance(its, exp.LocationProperty):
            parts["location"] = its.this.name
        elif isinstance(its, exp.PartitionedByProperty):
            parts["partitions"] = fields(its.this.expressions)
        elif isinstance(its, exp.SchemaCommentProperty):
            parts["comment"] = its.this.name
        elif isinstance(its, exp.RowFormatSerdeProperty):
            serde = its.this.name
        elif isinstance(its, exp.FileFormatProperty):
            stored = f"STORED AS {its.this.name.upper()}"
        elif isinstance(its, exp.Property) and type(its) is exp.Property:
            parts["properties"][its.this.name] = its.args["value"].name
        else:
            raise AssertionError(f"a part that nobody knows: {its!r}")
    usual, *formats = SERDES[stored]
    if stored == "STORED AS PARQUET":
        serde = serde or usual
    parts |= {"name": create.this.this.name, "columns": fields(create.this.expressions),
              "storage": (serde, *formats)}
    return parts


def fields(columns):
    found = []
    for column in columns:
        comments = [its.kind.this.name for its in column.args.get("constraints") or ()]
        found.append((column.name, column.kind.sql("hive").lower().replace(" ", ""), "".join(comments)))
    return found
