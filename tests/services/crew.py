"""Many workers of one group, some dying, some freezing, while the stream is resharded."""
import re
import signal
import time

from lake import Group, counts, keys, same
from servers import Case, Run, until
from stream import Feed, Feeder, make_stream, merge, multiply, open_ids, split

LEASE = 3
SETTINGS = {"FLUSH__INTERVAL": "1s", "LEASE_TIMEOUT": f"{LEASE}s"}


def strike(case: Case, group: Group, run: Run, blow: signal.Signals):
    """A blow in the middle of a flush: when the worker has staged a pack or published an object, or a bit later."""
    worker = group.member(run)
    folder = case.rng.choice([f"{group.folder}/staged/", f"{group.lake}/log_events/"])

    def written():
        return {key for key in keys(case.servers, folder) if worker in key}

    before = written()
    until(lambda: written() - before, f"something new in {folder} by {worker}", 20, pause=0.01)
    time.sleep(case.rng.choice([0, case.rng.uniform(0, 0.2)]))
    run.signal(blow)
    return worker


def crew(case: Case, name):
    """Three workers: one killed, one frozen for twice its lease, one added, shards split and merged under load."""
    kinesis, feed, rng = make_stream(case.servers, name, 4), Feed(case, name), case.rng
    group = Group(case.servers, name)

    def reshard(*ways):
        for way in ways:
            way(kinesis, name, rng)
            case.moment(0.5)

    def until_even(workers, what, seconds):
        group.until_even(workers, lambda: open_ids(kinesis, name), what, seconds)

    feed.put(40)
    split(kinesis, name, rng)  # A closed shard with unread data, from before the group was born.
    with Feeder(feed):
        runs = [Run(case, name, name, **SETTINGS) for _ in range(3)]
        until_even(3, "three workers share the shards evenly", 20)
        case.moment(1)
        dead, frozen, steady = rng.sample(runs, 3)
        dead_worker = strike(case, group, dead, signal.SIGKILL)
        reshard(split, *rng.sample([split, merge], 2))
        frozen_worker = strike(case, group, frozen, signal.SIGSTOP)
        asleep = time.monotonic()
        reshard(*rng.sample([split, merge, merge], 3))
        added = Run(case, name, name, **SETTINGS)
        until(lambda: not {dead_worker, frozen_worker} & group.owned().keys(), "the dead and the frozen are out", 30)
        until_even(2, "the other two have taken over", 20)
        time.sleep(max(0, asleep + 2 * LEASE - time.monotonic()))
        frozen.signal(signal.SIGCONT)
        reshard(split, merge)
        until(lambda: group.member(frozen) not in (None, frozen_worker), "the frozen one is back as another", 20)
        until_even(3, "the last three share the shards evenly", 30)
        stood, spread = group.unread(), len(group.unread())
        until(lambda: not group.unread().items() & stood.items(), "each shard is read on", 20)
    live = [steady, frozen, added]
    for run in live:
        run.signal(signal.SIGTERM)
    for run in live:
        run.done(20)
    left = feed.events - group.events()
    Run(case, name, name, "--drain", **SETTINGS).done(60)
    group.assert_at_rest()
    objects = len(keys(case.servers, f"{name}/log_events/"))
    told = same(counts(case.servers, name), feed.want, "a crew under fire")
    return f"{group.told()}, {spread} shared by the last three, {objects} objects, {left} events for the drain: {told}"


def resharded(case: Case):
    """Three workers that nothing happens to: whoever is to have the children of a shard begins with them at once."""
    kinesis, feed = make_stream(case.servers, "resharded", 3), Feed(case, "resharded")
    group, seconds = Group(case.servers, "resharded"), []
    with Feeder(feed):
        runs = [Run(case, "resharded", "resharded", **SETTINGS) for _ in range(3)]
        for way in (None, split, split, merge, multiply, merge):
            if way:
                way(kinesis, "resharded", case.rng)
            began = time.monotonic()
            group.until_even(3, lambda: open_ids(kinesis, "resharded"),
                             f"the three share all shards after {way.__name__ if way else 'the start'}", 15)
            seconds.append(time.monotonic() - began)
    for run in runs:
        run.stop()
    Run(case, "resharded", "resharded", "--drain", **SETTINGS).done(60)
    group.assert_at_rest()
    told = same(counts(case.servers, "resharded"), feed.want, "resharded")
    return f"{group.told()}, shared at most {max(seconds):.1f} s after a change: {told}"


def subscribers(case: Case):
    """Fan-out: a consumer that is registered at the start, workers that come and one that is killed, shards that are
    split and merged, and a drain."""
    kinesis, feed = make_stream(case.servers, "pushed", 2), Feed(case, "pushed")
    group, runs = Group(case.servers, "pushed"), []
    settings = SETTINGS | {"SOURCE__KINESIS__MODE": "fan_out", "SOURCE__KINESIS__CONSUMER_NAME": "crew"}

    def until_even(what):
        live = sum(run.is_alive() for run in runs)
        group.until_even(live, lambda: open_ids(kinesis, "pushed"), f"{live} share the shards after {what}", 30)

    def start():
        runs.append(Run(case, "pushed", "pushed", **settings))

    feed.put(40)
    split(kinesis, "pushed", case.rng)
    with Feeder(feed):
        for what in (start, start, split, merge, "kill", split, start, split):
            if what == "kill":
                strike(case, group, runs[0], signal.SIGKILL)
            elif what == start:
                start()
            else:
                what(kinesis, "pushed", case.rng)
            case.moment(1)
            until_even(getattr(what, "__name__", what))
        stood = group.unread()
        until(lambda: not group.unread().items() & stood.items(), "each shard is read on", 20)
    for run in runs[1:]:
        run.stop()
    Run(case, "pushed", "pushed", "--drain", **settings).done(60)
    group.assert_at_rest()
    arn = kinesis.describe_stream_summary(StreamName="pushed")["StreamDescriptionSummary"]["StreamARN"]
    consumers = [consumer["ConsumerName"] for consumer in kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]]
    assert consumers == ["crew"], consumers
    assert all(" subscribing " in run.log.read_text() for run in runs), "somebody polls"
    told = same(counts(case.servers, "pushed"), feed.want, "fan-out")
    return f"{group.told()}, {told}"


def drained_together(case: Case, name, **settings):
    """Three drains at once, over a stream that was split: the first that ends finds everything visible, and all end."""
    kinesis, feed = make_stream(case.servers, name, 3), Feed(case, name)
    for _ in range(2):
        feed.put(60)
        split(kinesis, name, case.rng)
    feed.put(60)
    began = time.monotonic()
    runs = [Run(case, name, name, "--drain", LEASE_TIMEOUT=f"{LEASE}s", **settings) for _ in range(3)]
    until(lambda: not all(run.is_alive() for run in runs), "a drain ends", 30)
    first = time.monotonic() - began
    told = same(counts(case.servers, name), feed.want, "when the first of three drains has ended")
    for run in runs:
        run.done(30)
    last = time.monotonic() - began
    group = Group(case.servers, name)
    group.assert_at_rest()
    for run in runs:
        subscribed, owned = (set(re.findall(f" {what} .*shard=(\\S+)", run.log.read_text()))
                             for what in ("subscribing", "reading"))
        assert subscribed <= owned, f"it took the subscriptions of others: {subscribed - owned}"
    return f"{group.told()}, ended after {first:.1f} to {last:.1f} s: {told}"
