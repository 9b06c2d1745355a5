"""moto_server, with what Trino asks of Glue and moto does not have."""
import sys

from moto.glue.models import FakeTable
from moto.glue.responses import GlueResponse
from moto.server import main

# Trino sends an empty expression for "all partitions".
get_partitions = FakeTable.get_partitions
FakeTable.get_partitions = lambda table, expression: get_partitions(table, expression or None)

# A new table has no statistics, and gets none.
for scope in ("table", "partition"):
    setattr(GlueResponse, f"get_column_statistics_for_{scope}", lambda _: '{"ColumnStatisticsList": [], "Errors": []}')
    for verb in ("update", "delete"):
        setattr(GlueResponse, f"{verb}_column_statistics_for_{scope}", lambda _: "{}")

main(sys.argv[1:])
