"""The KurrentDB engine's subscriptions over the double: marks, gaps, breaks, closing.

The double tests our side, not KurrentDB.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from tests.doubles.kurrentdb import Double

from modelkeep.errors import Corrupt, Invalid, Unavailable
from modelkeep.store.kurrent import KurrentStore, KurrentSubscription, Versions
from modelkeep.store.port import NO_STREAM, START, Batch, Filter, NewEvent, Recorded

STREAM = "model-acme.fraud"
PATIENT = 20.0
"""Seconds to wait for what must come; nothing here is measured in time."""


def event(name: str = "n.a", data: bytes = b"{}") -> NewEvent:
    return NewEvent(uuid4(), name, 1, data, b'{"schema_version":"1"}')


@pytest.fixture
def double() -> Iterator[Double]:
    with Double() as double:
        yield double


@pytest.fixture
def store(double: Double) -> Iterator[KurrentStore]:
    with KurrentStore(double.uri, probe_every=0.01) as store:
        yield store


def until(
    subscription: KurrentSubscription, enough: Callable[[list[Recorded], Batch], bool]
) -> tuple[list[Recorded], Batch]:
    """Poll until `enough` of all events so far and of the last batch."""
    seen: list[Recorded] = []
    deadline = time.monotonic() + PATIENT
    while True:
        batch = subscription.poll(1.0)
        seen.extend(batch.events)
        if enough(seen, batch):
            return seen, batch
        assert time.monotonic() < deadline, seen


def caught_up(_: list[Recorded], batch: Batch) -> bool:
    return batch.caught_up


def write(store: KurrentStore, count: int, stream: str = STREAM) -> int:
    after = store.stream_version(stream)
    return store.append(
        stream, [event() for _ in range(count)], expected=after
    ).position


def test_an_empty_log_is_caught_up_at_once(store: KurrentStore) -> None:
    with store.subscribe() as subscription:
        seen, batch = until(subscription, caught_up)
    assert (seen, batch.position) == ([], START)


def test_it_catches_up_and_goes_on_live(store: KurrentStore) -> None:
    head = write(store, 300)
    with store.subscribe() as subscription:
        seen, batch = until(subscription, caught_up)
        assert [r.version for r in seen] == list(range(300))
        assert batch.position == head
        head = write(store, 3)
        seen, batch = until(subscription, caught_up)
        assert [r.version for r in seen] == [300, 301, 302]
        assert batch.position == head


def test_it_begins_after_a_position(store: KurrentStore) -> None:
    write(store, 3)
    second = list(store.read_all())[1].position
    with store.subscribe(after=second) as subscription:
        seen, _ = until(subscription, caught_up)
    assert [r.version for r in seen] == [2]


@pytest.mark.parametrize("bare", [False, True])
def test_a_filter_moves_on_though_nothing_passes_it(
    store: KurrentStore, double: Double, *, bare: bool
) -> None:
    double.faults.bare_marks = bare
    write(store, 2)
    only = Filter("stream", ("policy-",))
    with store.subscribe(only=only) as subscription:
        until(subscription, caught_up)
        for _ in range(3):
            head = write(store, 1)
            seen, batch = until(subscription, lambda _, b: b.position >= head)  # noqa: B023 - called at once
            assert (seen, batch.position) == ([], head)
        head = write(store, 1, "policy-acme.7")
        seen, batch = until(subscription, lambda s, _: len(s) == 1)
        assert batch.position == head


def test_a_filter_by_name_passes_only_its_prefix(store: KurrentStore) -> None:
    given = [event(n) for n in ("n.a", "xn.a", "n.b", "nXa", "Result")]
    store.append(STREAM, given, expected=NO_STREAM)
    with store.subscribe(only=Filter("name", ("n.",))) as subscription:
        seen, _ = until(subscription, caught_up)
    assert [r.name for r in seen] == ["n.a", "n.b"]


@pytest.mark.parametrize("only", [None, Filter("stream", ("model-",))])
def test_it_is_not_level_while_something_is_on_its_way(
    store: KurrentStore, double: Double, only: Filter | None
) -> None:
    with store.subscribe(only=only) as subscription:
        _, level = until(subscription, caught_up)
        double.faults.mute()
        head = write(store, 1)
        batch = subscription.poll(0.2)
        assert (list(batch.events), batch.position) == ([], level.position)
        assert not batch.caught_up
        double.faults.unmute()
        seen, batch = until(subscription, caught_up)
    assert (len(seen), batch.position) == (1, head)


def test_links_and_other_system_events_in_our_streams_are_hidden(
    store: KurrentStore, double: Double
) -> None:
    write(store, 1)
    double.log.write_system_event(STREAM, "$>")
    store.append(STREAM, [event("n.b")], expected=1)
    with store.subscribe(only=Filter("stream", ("model-",))) as subscription:
        seen, _ = until(subscription, caught_up)
    assert (
        [r.name for r in seen] == [r.name for r in store.read_all()] == ["n.a", "n.b"]
    )


def test_without_a_filter_the_servers_own_events_are_hidden(
    store: KurrentStore, double: Double
) -> None:
    store.append(STREAM, [event("Result"), event()], expected=NO_STREAM)
    double.log.write_system_event("$stats-0", "$statsCollected")
    with store.subscribe() as subscription:
        seen, batch = until(subscription, caught_up)
    assert [r.name for r in seen] == ["Result", "n.a"]
    assert batch.position == store.head()


@pytest.mark.parametrize("only", [None, Filter("stream", ("model-",))])
def test_a_missing_version_is_corruption(
    store: KurrentStore, double: Double, only: Filter | None
) -> None:
    write(store, 4)
    double.faults.omit(STREAM, 2)
    with store.subscribe(only=only) as subscription:
        with pytest.raises(Corrupt, match="version 3 came after 1"):
            until(subscription, lambda *_: False)
        with pytest.raises(Corrupt):
            subscription.poll(0)


def test_a_missing_beginning_is_corruption(store: KurrentStore, double: Double) -> None:
    write(store, 2)
    double.faults.omit(STREAM, 0)
    with (
        store.subscribe(only=Filter("stream", ("model-",))) as subscription,
        pytest.raises(Corrupt, match="version 1 came after -1"),
    ):
        until(subscription, lambda *_: False)


def test_versions_may_be_skipped_by_name_but_never_go_back() -> None:
    versions = Versions(whole=False, from_zero=False)
    versions.check("s", 3)
    versions.check("s", 7)
    with pytest.raises(Corrupt):
        versions.check("s", 7)


def test_a_forgotten_stream_may_go_on_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Versions, "REMEMBERED", 2)
    versions = Versions(whole=True, from_zero=True)
    for stream in ("a", "b", "c"):
        versions.check(stream, 0)
    versions.check("a", 5)
    with pytest.raises(Corrupt):
        versions.check("c", 2)


def test_a_broken_subscription_resumes_without_loss_or_repeat(
    store: KurrentStore, double: Double
) -> None:
    with store.subscribe() as subscription:
        head = write(store, 5)
        seen, _ = until(subscription, lambda _, b: b.position == head)
        double.faults.break_subscriptions()
        head = write(store, 5)
        more, _ = until(subscription, lambda _, b: b.position == head)
        double.faults.break_subscriptions(politely=True)
        head = write(store, 5)
        still, _ = until(subscription, lambda _, b: b.position == head)
        double.restart()
        head = write(store, 5)
        rest, _ = until(subscription, lambda _, b: b.position == head)
    assert [r.version for r in (*seen, *more, *still, *rest)] == list(range(20))


def test_patience_begins_when_the_subscription_breaks(double: Double) -> None:
    with (
        KurrentStore(double.uri, patience=0.2) as store,
        store.subscribe() as subscription,
    ):
        until(subscription, caught_up)
        time.sleep(0.3)  # a quiet log is no outage
        double.faults.break_subscriptions()
        head = write(store, 1)
        until(subscription, lambda _, b: b.position == head)


def test_what_comes_while_the_head_is_asked_for_is_not_jumped(
    store: KurrentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.subscribe() as subscription:
        until(subscription, caught_up)
        asks = subscription._is_level

        def meanwhile() -> bool:
            level = asks()
            write(store, 1)
            while not subscription._events:
                time.sleep(0.001)
            return level

        monkeypatch.setattr(subscription, "_is_level", meanwhile)
        batch = subscription.poll(0)
    assert (len(batch.events), batch.caught_up) == (1, False)


def test_a_server_away_for_too_long_is_told(double: Double) -> None:
    with KurrentStore(double.uri, patience=0.0) as store:
        subscription = store.subscribe()
        until(subscription, caught_up)
        double.close()
        with pytest.raises(Unavailable, match="subscribing"):
            until(subscription, lambda *_: False)


def test_a_mark_ahead_of_what_was_seen_is_not_believed(
    store: KurrentStore, double: Double
) -> None:
    double.faults.early_marks = True
    double.faults.bare_marks = True
    only = Filter("stream", ("policy-",))
    head = write(store, 1, "policy-acme.7")
    with store.subscribe(only=only) as subscription:
        _, batch = until(subscription, caught_up)
        assert batch.position == head


def test_a_position_of_another_log_is_refused(store: KurrentStore) -> None:
    at = write(store, 1)
    with (
        store.subscribe(after=at + 1) as subscription,
        pytest.raises(Invalid, match="position"),
    ):
        until(subscription, lambda *_: False)


def test_what_nobody_polls_is_held_within_bounds(
    store: KurrentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KurrentSubscription, "BOX_EVENTS", 50)
    write(store, 500)
    with store.subscribe() as subscription:
        largest = 0

        def enough(seen: list[Recorded], batch: Batch) -> bool:
            nonlocal largest
            largest = max(largest, len(batch.events))
            return len(seen) == 500

        seen, _ = until(subscription, enough)
    assert largest <= 50
    assert [r.version for r in seen] == list(range(500))


def test_large_events_are_held_within_bounds_too(
    store: KurrentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KurrentSubscription, "BOX_BYTES", 100_000)
    for n in range(20):
        big = event(data=b'"' + b"x" * 60_000 + b'"')
        store.append(STREAM, [big], expected=n - 1)
    with store.subscribe() as subscription:
        sizes: list[int] = []

        def enough(seen: list[Recorded], batch: Batch) -> bool:
            sizes.append(len(batch.events))
            return len(seen) == 20

        until(subscription, enough)
    assert max(sizes) <= 2


def test_closing_wakes_who_polls(store: KurrentStore) -> None:
    subscription = store.subscribe()
    until(subscription, caught_up)
    closer = threading.Thread(target=subscription.close)
    closer.start()
    with pytest.raises(Unavailable, match="closed"):
        until(subscription, lambda *_: False)
    closer.join()
    with pytest.raises(Unavailable, match="closed"):
        subscription.poll(0)


def test_closing_frees_a_reader_with_a_full_box(
    store: KurrentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KurrentSubscription, "BOX_EVENTS", 5)
    write(store, 50)
    subscription = store.subscribe()
    while len(subscription._events) < 5:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(subscription._events) == 5
    subscription.close()
    assert not subscription._thread.is_alive()


def test_a_closed_store_leaves_no_reader_behind(double: Double) -> None:
    with KurrentStore(double.uri) as store:
        subscriptions = [store.subscribe() for _ in range(3)]
        until(subscriptions[0], caught_up)
    assert not any(s._thread.is_alive() for s in subscriptions)
    assert not [t for t in threading.enumerate() if t.name.startswith("kurrent-")]


def test_many_subscriptions_hear_concurrent_writers_alike(store: KurrentStore) -> None:
    def writes(stream: str) -> None:
        for n in range(20):
            store.append(stream, [event(), event()], expected=2 * n - 1)

    with store.subscribe() as one, store.subscribe() as two:
        threads = [
            threading.Thread(target=writes, args=(f"model-acme.{n}",)) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        first, _ = until(one, lambda s, _: len(s) == 160)
        second, _ = until(two, lambda s, _: len(s) == 160)
        for thread in threads:
            thread.join()
    assert first == second == list(store.read_all())
