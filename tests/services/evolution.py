"""Schemas that change, and what a lake refuses."""
import json

import samples
from lake import keys
from servers import Case, FileRun
from tables import Lake, config

COLUMNS = [("event_id", "string"), ("timestamp", "timestamp(3)"), ("a", "string"), ("n", "int"), ("message", "string")]


def schema(version, columns):
    return {"name": "growing", "version": version, "parse": {"json": {}},
            "columns": [{"name": name, "type": kind} for name, kind in columns],
            "partitions": [{"name": name, "type": "string"} for name in samples.PARTITIONS]}


class Growing:
    """A destination, and a schema file of its own."""

    def __init__(self, case: Case, kind, name="growing"):
        self.case, self.kind, self.prefix = case, kind, f"{name}-{kind}"
        self.folder, self.number = case.folder / f"schemas-{self.prefix}", 0
        self.folder.mkdir()

    def write(self, version, columns):
        (self.folder / "growing.json").write_text(json.dumps(schema(version, columns)))

    def run(self, version, columns, kind=None, shift=0, **env):
        """Delivers one more event that has all that any version knows."""
        self.write(version, columns)
        self.number += 1
        event = {"id": f"{self.number:056d}", "timestamp": samples.EDGES[0] + shift,
                 "message": '{"a":"x","n":7,"b":1.5}'}
        envelope = {"messageType": "DATA_MESSAGE", "owner": samples.OWNER, "logGroup": "g", "logStream": "s",
                    "subscriptionFilters": ["f"], "logEvents": [event]}
        rule = '[[table]]\nschema = "growing"\nlog_groups = ["g"]\n'
        text = config(self.case, kind or self.kind, rule)
        env |= {"FIREMAIN_SCHEMAS_DIR": str(self.folder)}
        return FileRun(self.case, self.prefix, text, samples.lines([envelope]), **env)

    def rows(self):
        lake = Lake(self.case, self.prefix, self.kind, self.folder)
        lake.view("growing")
        return lake.rows("SELECT * EXCLUDE (message, timestamp, log_group, dt, hour) FROM growing ORDER BY event_id")

    def objects(self):
        return {key for key in keys(self.case.servers, f"{self.prefix}/") if "/_firemain/" not in key}


def evolved(case: Case):
    """A column may come and go; its type, the format, and the columns of a version may not change."""
    told = []
    for kind, other in (("parquet", "json"), ("json", "parquet")):
        growing = Growing(case, kind)
        growing.run(1, COLUMNS).done()
        growing.run(1, COLUMNS[::-1]).done()  # Their order is nothing.
        growing.write(2, [*COLUMNS, ("b", "double")])
        seen = [row.get("b", "no column") for row in growing.rows()]
        assert seen == [None, None], f"{kind}, before there is an object of version 2: {seen}"
        growing.run(2, [*COLUMNS, ("b", "double")]).done()
        ids = [f"{number:056d}" for number in range(1, 5)]
        want = [{"event_id": id, "a": "x", "n": 7, "b": b} for id, b in zip(ids, (None, None, 1.5))]
        assert growing.rows() == want, f"{kind}: {growing.rows()}"
        growing.run(3, [column for column in COLUMNS if column[0] != "a"]).done()
        seen = growing.rows()
        assert [(row["event_id"], row["n"]) for row in seen] == [(id, 7) for id in ids], f"{kind}: {seen}"
        before = growing.objects()
        changed = [(name, "bigint" if name == "n" else its) for name, its in COLUMNS]
        refusals = {
            "a type": ((4, changed), ["table growing", "column n", "bigint", "int", "another name"]),
            "a type that went and came back": ((4, [*COLUMNS, ("b", "string")]),
                                               ["table growing", "column b", "string", "double"]),
            "the format": ((2, [*COLUMNS, ("b", "double")], other),
                           ["table ", f"format.kind` is {other}", kind, "another destination"]),
            "one version": ((2, COLUMNS), ["table growing", "growing v2", "raise the `version`"])}
        said = {what: growing.run(*run).refused() for what, (run, _) in refusals.items()}
        for what, (_, words) in refusals.items():
            missing = [word for word in words if word not in said[what]]
            assert not missing, f"{kind}, {what}: nothing of {missing} in {said[what]}"
        assert growing.objects() == before, "something was delivered"
        growing.run(2, [*COLUMNS, ("b", "double")]).done()  # Back to what goes.
        told.append(f"{kind}: 4 versions read together, {len(refusals)} refused")
    return "; ".join([*told, *said.values()])
