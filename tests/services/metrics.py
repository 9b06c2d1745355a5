"""What a worker tells Prometheus, read by the parser of Prometheus' own client."""
import re
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from servers import until

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
# Known only where there is a catalogue.
UNKNOWN = {"firemain_unregistered_partitions"}


def documented() -> dict:
    """Kind and label of each metric by its name, as docs/metrics.md has them."""
    rows = re.findall(r"`(firemain_\w+)(?:\{(\w+)\})?`, (counter|gauge|histogram)", DOCUMENT.read_text())
    # The parser names a counter without its ending.
    return {name.removesuffix("_total") if kind == "counter" else name: (kind, label) for name, label, kind in rows}


def read(listen) -> list:
    with urlopen(f"http://{listen}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers
        return list(text_string_to_metric_families(answer.read().decode()))


def counted(families, name):
    return sum(sample.value for family in families if family.name == name for sample in family.samples)


def exported(listen, group, events) -> str:
    """Every metric is exported as it is documented, and no other; and so many events are counted."""
    # They are counted right after they are committed.
    until(lambda: counted(read(listen), "firemain_events") >= events, "all events are counted", 5)
    families = read(listen)
    names, wanted = [family.name for family in families], documented()
    assert len(names) == len(set(names)) and len(wanted) > 20, (names, wanted)
    assert set(names) <= wanted.keys(), f"not documented: {set(names) - wanted.keys()}"
    assert wanted.keys() - set(names) <= UNKNOWN, f"not exported: {wanted.keys() - set(names)}"
    for family in families:
        kind, label = wanted[family.name]
        assert family.type == kind and family.documentation, family
        for sample in family.samples:
            labels = {"group", *([label] if label else []), *(["le"] if sample.name.endswith("_bucket") else [])}
            assert sample.labels.keys() == labels and sample.labels["group"] == group, sample
            assert sample.value >= 0, sample
        if kind == "histogram":
            of = {name: [sample.value for sample in family.samples if sample.name == f"{family.name}_{name}"]
                  for name in ("bucket", "count", "sum")}
            assert of["bucket"] == sorted(of["bucket"]) and of["bucket"][-1:] == of["count"] and of["sum"], family
    count = counted(families, "firemain_events")
    assert count == events, f"{count} events are counted, and {events} were delivered"
    return f"{len(families)} metrics by the parser of Prometheus"
