"""What every engine must do alike: each sentence of the port, held to."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pytest
from tests.contract.engines import Engine
from tests.contract.some import event, events, stream

from modelkeep.errors import Conflict, Invalid, TooLarge, Unavailable, WrongVersion
from modelkeep.store import open_store
from modelkeep.store.port import (
    ANY,
    EXISTS,
    MAX_APPEND_BYTES,
    NO_STREAM,
    START,
    Appended,
    Filter,
    NewEvent,
    Recognised,
    Recorded,
    Store,
    Subscription,
)

Opened = Callable[[], Store]
PATIENCE = 30.0


@pytest.fixture(params=["append", "submit"])
def append(
    request: pytest.FixtureRequest, store: Store
) -> Callable[[str, Sequence[NewEvent], int], Appended]:
    """Append, waiting for it or told through a future: the same."""

    def waiting(name: str, new: Sequence[NewEvent], expected: int) -> Appended:
        return store.append(name, new, expected=expected)

    def told(name: str, new: Sequence[NewEvent], expected: int) -> Appended:
        return store.submit(name, new, expected=expected).result(PATIENCE)

    return waiting if request.param == "append" else told


Append = Callable[[str, Sequence[NewEvent], int], Appended]


def ids(recorded: Iterator[Recorded] | Sequence[Recorded]) -> list[bytes]:
    return [one.id for one in recorded]


def new_ids(new: Sequence[NewEvent]) -> list[bytes]:
    return [one.id.bytes for one in new]


def caught_up(subscription: Subscription) -> list[Recorded]:
    """Poll until the subscription says that nothing newer existed."""
    got: list[Recorded] = []
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        batch = subscription.poll(0.2)
        got += batch.events
        assert not batch.events or batch.position >= batch.events[-1].position
        if batch.caught_up:
            return got
    pytest.fail("it never caught up")


def awaited(subscription: Subscription, many: int) -> list[Recorded]:
    got: list[Recorded] = []
    give_up = time.monotonic() + PATIENCE
    while len(got) < many and time.monotonic() < give_up:
        got += subscription.poll(1).events
    return got


def test_an_engine_is_a_store(store: Store) -> None:
    assert isinstance(store, Store)


class TestAppending:
    def test_versions_begin_at_zero_and_have_no_gaps(
        self, store: Store, append: Append
    ) -> None:
        name = stream()
        assert append(name, events(1), NO_STREAM).version == 0
        assert append(name, events(3), 0).version == 3
        assert append(name, events(1), 3).version == 4
        assert [one.version for one in store.read_stream(name)] == [0, 1, 2, 3, 4]
        assert store.stream_version(name) == 4

    def test_the_result_is_where_the_last_event_stands(
        self, store: Store, append: Append
    ) -> None:
        name = stream()
        done = append(name, events(3), NO_STREAM)
        *_, last = store.read_stream(name)
        assert done == Appended(last.position, last.version)
        assert store.head() == done.position

    def test_positions_grow_and_one_more_than_one_is_none(self, store: Store) -> None:
        before = store.head()
        for _ in range(3):
            store.append(stream(), events(2), expected=NO_STREAM)
        positions = [one.position for one in store.read_all(after=before)]
        assert positions == sorted(set(positions))
        assert not {at + 1 for at in positions} & set(positions)
        assert all(at > START for at in positions)

    def test_what_is_read_is_what_was_written(self, store: Store) -> None:
        name = f"modèle-{uuid4().hex}.тест/漢字😀"
        new = NewEvent(
            id=uuid4(),
            name="prüfung.bestanden",
            schema_version=7,
            data=bytes(range(256)),
            metadata='{ "schema_version" : "7",\n "naïve":"ключ" }'.encode(),
        )
        store.append(name, [new], expected=NO_STREAM)
        (got,) = store.read_stream(name)
        assert (got.stream, got.version, got.name) == (name, 0, new.name)
        assert (got.id, got.uuid) == (new.id.bytes, new.id)
        assert (got.schema_version, got.data) == (7, new.data)
        assert got.metadata == new.metadata
        assert got.meta == json.loads(new.metadata)
        a_day = 86_400_000_000
        assert abs(got.recorded_at - time.time_ns() // 1000) < a_day

    def test_empty_data_comes_back_empty(self, store: Store) -> None:
        name = stream()
        store.append(name, [event(data=b"")], expected=NO_STREAM)
        assert next(store.read_stream(name)).data == b""

    def test_the_wrong_version_is_refused_and_the_right_one_told(
        self, store: Store, append: Append
    ) -> None:
        name = stream()
        append(name, events(3), NO_STREAM)
        for expected in (NO_STREAM, 0, 1, 3, 99):
            with pytest.raises(WrongVersion) as refused:
                append(name, events(1), expected)
            assert isinstance(refused.value, Conflict)
            assert refused.value.stream == name
            assert refused.value.expected == expected
            assert refused.value.current == 2
        assert store.stream_version(name) == 2

    def test_a_stream_that_is_not_there_is_at_no_version(
        self, store: Store, append: Append
    ) -> None:
        name = stream()
        for expected in (0, 5, EXISTS):
            with pytest.raises(WrongVersion) as refused:
                append(name, events(1), expected)
            assert refused.value.current == NO_STREAM
        assert store.stream_version(name) == NO_STREAM

    def test_any_and_exists_write_at_the_end(
        self, store: Store, append: Append
    ) -> None:
        name = stream()
        assert append(name, events(2), ANY).version == 1
        assert append(name, events(1), ANY).version == 2
        assert append(name, events(1), EXISTS).version == 3
        assert len(list(store.read_stream(name))) == 4

    def test_all_of_an_append_or_none_of_it(self, store: Store) -> None:
        name, before = stream(), store.head()
        twice = event()
        for refused in ([twice, twice], [event(), event(data=bytes(MAX_APPEND_BYTES))]):
            with pytest.raises((Invalid, TooLarge)):
                store.append(name, refused, expected=NO_STREAM)
        assert store.head() == before
        assert list(store.read_stream(name)) == []

    def test_an_append_of_nothing_is_invalid(self, append: Append) -> None:
        with pytest.raises(Invalid):
            append(stream(), [], NO_STREAM)

    def test_one_id_twice_in_an_append_is_invalid(self, append: Append) -> None:
        one = event()
        with pytest.raises(Invalid):
            append(stream(), [one, event(), one], NO_STREAM)

    @pytest.mark.parametrize(
        "name", ["", "a" * 1025, "a\nb", "a\0b", "a\x7fb", "\ud800", "a\x85"], ids=repr
    )
    def test_a_bad_name_of_a_stream_is_invalid(
        self, store: Store, append: Append, name: str
    ) -> None:
        before = store.head()
        with pytest.raises(Invalid):
            append(name, events(1), ANY)
        assert store.head() == before

    @pytest.mark.parametrize("expected", [-3, -5, -100])
    def test_a_number_that_means_nothing_is_invalid(
        self, append: Append, expected: int
    ) -> None:
        with pytest.raises(Invalid):
            append(stream(), events(1), expected)

    def test_an_append_has_a_largest_size(self, store: Store, append: Append) -> None:
        name = stream()
        first, second = event(), event()
        room = MAX_APPEND_BYTES - sum(len(one.metadata) for one in (first, second))
        halves = [
            first._replace(data=bytes(room // 2)),
            second._replace(data=bytes(room - room // 2)),
        ]
        with pytest.raises(TooLarge):
            append(name, [halves[0], second._replace(data=bytes(room))], NO_STREAM)
        assert store.stream_version(name) == NO_STREAM
        append(name, halves, NO_STREAM)
        assert [len(one.data) for one in store.read_stream(name)] == [
            room // 2,
            room - room // 2,
        ]


class TestRetrying:
    def test_a_retry_gets_the_first_result_and_writes_nothing(
        self, store: Store, append: Append
    ) -> None:
        name, new = stream(), events(3)
        first = append(name, new, NO_STREAM)
        assert append(name, new, NO_STREAM) == first
        assert ids(store.read_stream(name)) == new_ids(new)

    def test_a_retry_is_known_after_others_wrote(
        self, store: Store, append: Append
    ) -> None:
        name, new = stream(), events(2)
        append(name, events(1), NO_STREAM)
        first = append(name, new, 0)
        append(name, events(5), 2)
        head = store.head()
        assert append(name, new, 0) == first
        assert store.head() == head

    def test_a_retry_is_recognised_and_a_first_append_is_not(
        self, opened: Opened, append: Append
    ) -> None:
        name, new = stream(), events(2)
        first = append(name, new, NO_STREAM)
        later = append(name, events(1), 1)
        assert not isinstance(first, Recognised)
        assert not isinstance(later, Recognised)
        assert isinstance(append(name, new, NO_STREAM), Recognised)
        again = opened().append(name, new, expected=NO_STREAM)
        assert isinstance(again, Recognised)
        assert again == first

    def test_other_ids_are_no_retry(self, append: Append) -> None:
        name, new = stream(), events(3)
        append(name, new, NO_STREAM)
        wrong = [
            [event(), *new[1:]],
            [*new[:2], event()],
            [new[1], new[0], new[2]],
            new[1:],
            [*new, event()],
        ]
        for others in wrong:
            with pytest.raises(WrongVersion):
                append(name, others, NO_STREAM)

    def test_a_retry_is_told_by_ids_alone(self, append: Append) -> None:
        name, one = stream(), event()
        first = append(name, [one], NO_STREAM)
        assert append(name, [one._replace(data=b'{"n":2}')], NO_STREAM) == first

    def test_at_the_right_version_even_a_known_id_is_written(
        self, store: Store, append: Append
    ) -> None:
        name, one = stream(), event()
        append(name, [one], NO_STREAM)
        assert append(name, [one], 0).version == 1
        assert ids(store.read_stream(name)) == new_ids([one, one])

    def test_an_id_known_to_one_stream_is_new_to_another(
        self, store: Store, append: Append
    ) -> None:
        one, here, there = event(), stream(), stream()
        append(here, [one], NO_STREAM)
        append(there, [one], NO_STREAM)
        append(stream(), [one], ANY)
        assert store.stream_version(there) == 0

    @pytest.mark.parametrize("expected", [ANY, EXISTS])
    def test_without_a_version_a_recent_retry_is_known(
        self, store: Store, append: Append, expected: int
    ) -> None:
        name, new = stream(), events(2)
        append(name, events(1), NO_STREAM)
        first = append(name, new, expected)
        append(name, events(3), expected)
        assert append(name, new, expected) == first
        assert store.stream_version(name) == 5


class TestReading:
    def test_a_stream_that_does_not_exist_has_no_events(self, store: Store) -> None:
        assert list(store.read_stream(stream())) == []
        assert list(store.read_stream(stream(), backwards=True)) == []

    def test_after_is_exclusive_and_limit_is_a_limit(self, store: Store) -> None:
        name = stream()
        store.append(name, events(6), expected=NO_STREAM)

        def versions(
            after: int = NO_STREAM,
            limit: int | None = None,
            *,
            backwards: bool = False,
        ) -> list[int]:
            read = store.read_stream(
                name, after=after, backwards=backwards, limit=limit
            )
            return [one.version for one in read]

        assert versions() == [0, 1, 2, 3, 4, 5]
        assert versions(0) == [1, 2, 3, 4, 5]
        assert versions(2, 2) == [3, 4]
        assert versions(5) == []
        assert versions(99) == []
        assert versions(limit=0) == []
        assert versions(limit=99) == [0, 1, 2, 3, 4, 5]
        assert versions(backwards=True) == [5, 4, 3, 2, 1, 0]
        assert versions(3, backwards=True) == [2, 1, 0]
        assert versions(3, 1, backwards=True) == [2]
        assert versions(0, backwards=True) == []
        assert versions(99, 2, backwards=True) == [5, 4]

    def test_all_is_in_the_order_of_writing(self, store: Store) -> None:
        before, written = store.head(), []
        one, two = stream(), stream()
        for version in range(NO_STREAM, 4):
            for name in (one, two):
                new = event()
                store.append(name, [new], expected=version)
                written.append((name, version + 1, new.id.bytes))
        read = list(store.read_all(after=before))
        assert [(got.stream, got.version, got.id) for got in read] == written
        for at, got in enumerate(read):
            assert list(store.read_all(after=got.position)) == read[at + 1 :]
        assert list(store.read_all(after=before, limit=3)) == read[:3]
        assert list(store.read_all(after=before, limit=0)) == []
        assert [list(store.read_stream(name)) for name in (one, two)] == [
            read[::2],
            read[1::2],
        ]

    def test_nothing_comes_after_the_head(self, store: Store) -> None:
        store.append(stream(), events(1), expected=NO_STREAM)
        assert list(store.read_all(after=store.head())) == []

    def test_a_log_begins_empty(self, engine: Engine, store: Store) -> None:
        if not engine.fresh:
            pytest.skip(f"{engine.name} has a log that others wrote to")
        assert store.head() == START
        assert list(store.read_all()) == []
        store.append(stream(), events(1), expected=NO_STREAM)
        assert len(list(store.read_all())) == 1

    def test_a_read_that_goes_on_does_not_stop_a_writer(self, store: Store) -> None:
        before, name = store.head(), stream()
        store.append(name, events(5), expected=NO_STREAM)
        reading = store.read_all(after=before)
        first = next(reading)
        store.append(name, events(5), expected=4)
        versions = [first.version, *(one.version for one in reading)]
        assert versions[:5] == [0, 1, 2, 3, 4]

    def test_a_long_log_is_read_whole(self, store: Store) -> None:
        before, name = store.head(), stream()
        for version in range(-1, 2999, 500):
            store.append(name, events(500), expected=version)
        assert [one.version for one in store.read_all(after=before)] == [*range(3000)]
        assert [one.version for one in store.read_stream(name)] == [*range(3000)]
        assert [one.version for one in store.read_stream(name, backwards=True)] == [
            *range(2999, -1, -1)
        ]


class TestFiltering:
    PREFIXES = (
        ("risk.",),
        ("risk",),
        ("ri", "x"),
        ("Risk",),
        ("r.sk",),
        ("%",),
        ("risk_",),
        ("risk*",),
        ("[r]",),
        ("^risk", "risk$"),
        ("é",),
        ("漢",),
        ("\U0010ffff",),
        ("\ud7ff",),
        ("nothing-begins-so",),
        ("",),
        (),
    )
    NAMES = (
        "risk.taken",
        "risk.", "risk", "risky", "Risk.taken", "xrisk.taken", "ri", "rjsk", "%", "%x",
        "risk_x", "risk*x", "[r]x", "^risk", "risk$x", "élan", "e\u0301lan", "漢字",
        "\ud7ffx", "\ue000x", "\U0010fffdx", "Result", "PersistentConfig1",
    )  # fmt: skip

    @pytest.mark.parametrize("prefixes", PREFIXES, ids=repr)
    def test_names_are_admitted_exactly(
        self, store: Store, prefixes: tuple[str, ...]
    ) -> None:
        before, name = store.head(), stream()
        store.append(name, [event(one) for one in self.NAMES], expected=NO_STREAM)
        only = Filter("name", prefixes)
        read = list(store.read_all(after=before, only=only))
        wanted = [one for one in self.NAMES if one.startswith(prefixes)]
        assert [one.name for one in read] == wanted
        with store.subscribe(after=before, only=only) as subscription:
            assert caught_up(subscription) == read

    @pytest.mark.parametrize("prefixes", PREFIXES, ids=repr)
    def test_streams_are_admitted_exactly(
        self, store: Store, prefixes: tuple[str, ...]
    ) -> None:
        before = store.head()
        names = [f"{one}-{uuid4().hex}.1" for one in self.NAMES]
        for name in names:
            store.append(name, events(1), expected=NO_STREAM)
        only = Filter("stream", prefixes)
        read = list(store.read_all(after=before, only=only))
        assert [one.stream for one in read] == [
            one for one in names if one.startswith(prefixes)
        ]
        with store.subscribe(after=before, only=only) as subscription:
            assert caught_up(subscription) == read

    def test_a_limit_counts_what_was_admitted(self, store: Store) -> None:
        before, name = store.head(), stream()
        for version in range(NO_STREAM, 39, 2):
            new = [event("dull.thing"), event("keen.thing")]
            store.append(name, new, expected=version)
        only = Filter("name", ("keen.",))
        read = list(store.read_all(after=before, only=only, limit=7))
        assert [one.version for one in read] == [1, 3, 5, 7, 9, 11, 13]
        rest = list(store.read_all(after=read[-1].position, only=only))
        assert [one.version for one in rest] == [*range(15, 40, 2)]


class TestSubscribing:
    def test_it_catches_up_and_says_so_when_it_has(self, store: Store) -> None:
        before, name = store.head(), stream()
        for version in range(NO_STREAM, 2499, 250):
            store.append(name, events(250), expected=version)
        with store.subscribe(after=before) as subscription:
            got = caught_up(subscription)
        assert [one.version for one in got] == [*range(2500)]

    def test_it_resumes_from_any_event(self, store: Store) -> None:
        before = store.head()
        for _ in range(4):
            store.append(stream(), events(2), expected=NO_STREAM)
        everything = list(store.read_all(after=before))
        for at, one in enumerate(everything):
            with store.subscribe(after=one.position) as subscription:
                assert caught_up(subscription) == everything[at + 1 :]

    def test_it_resumes_from_any_checkpoint(self, store: Store) -> None:
        before, name = store.head(), stream()
        only = Filter("name", ("keen.",))
        seen: list[Recorded] = []
        at = before
        for version in range(NO_STREAM, 29, 3):
            new = [event("dull.thing"), event("keen.thing"), event("dull.thing")]
            store.append(name, new, expected=version)
            with store.subscribe(after=at, only=only) as subscription:
                batch = subscription.poll(PATIENCE)
            seen += batch.events
            assert batch.position >= at
            at = batch.position
        assert [one.version for one in seen] == [*range(1, 30, 3)]

    def test_it_delivers_what_is_written_later(self, store: Store) -> None:
        with store.subscribe(after=store.head()) as subscription:
            assert caught_up(subscription) == []
            name = stream()
            for version in range(NO_STREAM, 9):
                new = event()
                store.append(name, [new], expected=version)
                assert ids(awaited(subscription, 1)) == [new.id.bytes]

    def test_it_wakes_who_waits(self, store: Store) -> None:
        with (
            store.subscribe(after=store.head()) as subscription,
            ThreadPoolExecutor(1) as pool,
        ):
            waiting = pool.submit(awaited, subscription, 1)
            new = event()
            store.append(stream(), [new], expected=NO_STREAM)
            assert ids(waiting.result(PATIENCE)) == [new.id.bytes]

    def test_it_hears_of_what_another_store_wrote(self, opened: Opened) -> None:
        writer, reader = opened(), opened()
        with reader.subscribe(after=reader.head()) as subscription:
            assert caught_up(subscription) == []
            name = stream()
            for version in range(NO_STREAM, 5):
                new = event()
                writer.append(name, [new], expected=version)
                assert ids(awaited(subscription, 1)) == [new.id.bytes]

    def test_where_nothing_comes_it_waits_and_returns_nothing(
        self, store: Store
    ) -> None:
        store.append(stream(), events(1), expected=NO_STREAM)
        head = store.head()
        with store.subscribe(after=head) as subscription:
            batch = subscription.poll(0.05)
            assert (list(batch.events), batch.position) == ([], head)

    def test_what_a_filter_keeps_out_moves_no_checkpoint_too_far(
        self, store: Store
    ) -> None:
        name, only = stream(), Filter("name", ("keen.",))
        with store.subscribe(after=store.head(), only=only) as subscription:
            store.append(name, events(300, "dull.thing"), expected=NO_STREAM)
            at = subscription.poll(0.05).position
        new = event("keen.thing")
        store.append(name, [new], expected=299)
        with store.subscribe(after=at, only=only) as subscription:
            assert ids(awaited(subscription, 1)) == [new.id.bytes]

    def test_each_subscription_gets_everything(self, store: Store) -> None:
        before = store.head()
        new = events(20)
        with (
            store.subscribe(after=before) as one,
            store.subscribe(after=before) as two,
        ):
            store.append(stream(), new, expected=NO_STREAM)
            assert ids(caught_up(one)) == ids(caught_up(two)) == new_ids(new)

    def test_a_closed_one_says_so(self, store: Store) -> None:
        subscription = store.subscribe()
        subscription.close()
        subscription.close()
        with pytest.raises(Unavailable):
            subscription.poll(0)

    def test_closing_wakes_who_waits(self, store: Store) -> None:
        subscription = store.subscribe(after=store.head())
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(subscription.poll, PATIENCE)
            time.sleep(0.05)
            subscription.close()
            with suppress(Unavailable):  # it may have returned just before
                waiting.result(PATIENCE / 2)


class TestClosing:
    def test_what_was_written_is_there_when_opened_again(self, opened: Opened) -> None:
        name, new = stream(), events(3)
        with opened() as store:
            before = store.head()
            first = store.append(name, new, expected=NO_STREAM)
            written = list(store.read_all(after=before))
        with opened() as again:
            assert list(again.read_all(after=before)) == written
            assert again.append(name, new, expected=NO_STREAM) == first
            assert again.append(name, events(1), expected=2).version == 3
            assert again.head() > first.position

    def test_what_was_submitted_is_written_before_it_closes(
        self, opened: Opened
    ) -> None:
        names = [stream() for _ in range(20)]
        with opened() as store:
            told = [store.submit(name, events(1), expected=NO_STREAM) for name in names]
        assert [one.result(PATIENCE).version for one in told] == [0] * 20
        with opened() as again:
            assert {again.stream_version(name) for name in names} == {0}

    def test_a_closed_store_says_so(self, url: str) -> None:
        store = open_store(url)
        store.append(stream(), events(1), expected=NO_STREAM)
        store.close()
        store.close()
        for attempt in (
            lambda: store.append(stream(), events(1), expected=NO_STREAM),
            lambda: store.submit(stream(), events(1), expected=NO_STREAM).result(),
            lambda: list(store.read_all()),
            lambda: list(store.read_stream(stream())),
            store.head,
            lambda: store.subscribe().poll(0),
        ):
            with pytest.raises(Unavailable):
                attempt()


class TestWritingTogether:
    def test_of_two_who_expect_the_same_version_one_wins(self, opened: Opened) -> None:
        name, stores = stream(), [opened(), opened()]
        both = threading.Barrier(2)

        def race(store: Store, expected: int) -> int:
            both.wait()
            try:
                return store.append(name, events(1), expected=expected).version
            except WrongVersion as lost:
                return -1 - lost.current

        with ThreadPoolExecutor(2) as pool:
            for expected in range(NO_STREAM, 20):
                runs = [pool.submit(race, store, expected) for store in stores]
                won = expected + 1
                assert sorted(run.result(PATIENCE) for run in runs) == [-1 - won, won]
        assert stores[0].stream_version(name) == 20

    def test_many_threads_lose_nothing_and_write_nothing_twice(
        self, opened: Opened
    ) -> None:
        name, stores, each = stream(), [opened(), opened()], 20

        def write(store: Store) -> list[bytes]:
            mine = []
            for _ in range(each):
                new = event()
                while True:
                    with suppress(WrongVersion):
                        store.append(name, [new], expected=store.stream_version(name))
                        break
                mine.append(new.id.bytes)
            return mine

        with ThreadPoolExecutor(6) as pool:
            runs = [pool.submit(write, stores[at % 2]) for at in range(6)]
            written = [run.result(PATIENCE) for run in runs]
        read = list(stores[0].read_stream(name))
        assert [one.version for one in read] == [*range(6 * each)]
        assert sorted(ids(read)) == sorted(chain.from_iterable(written))

    def test_who_follows_by_position_misses_nothing(self, opened: Opened) -> None:
        writer, other, reader = opened(), opened(), opened()
        before, done = reader.head(), threading.Event()

        def write(store: Store) -> None:
            for _ in range(60):
                store.append(stream(), events(2), expected=NO_STREAM)

        def follow() -> list[Recorded]:
            got: list[Recorded] = []
            last = before
            while True:
                finished = done.is_set()
                new = list(reader.read_all(after=last))
                if not new and finished:
                    return got
                got += new
                last = got[-1].position if got else before

        with ThreadPoolExecutor(5) as pool:
            following = pool.submit(follow)
            for run in [pool.submit(write, one) for one in (writer, writer, other)]:
                run.result(PATIENCE)
            done.set()
            assert following.result(PATIENCE) == list(reader.read_all(after=before))
        assert len(following.result()) == 360

    def test_two_processes_lose_nothing_and_write_nothing_twice(
        self, url: str, store: Store
    ) -> None:
        name, each = stream(), 40
        script = f"""
import contextlib
from modelkeep.errors import WrongVersion
from modelkeep.store import open_store
from tests.contract.some import event
with open_store({url!r}) as store:
    for _ in range({each}):
        new = event()
        while True:
            with contextlib.suppress(WrongVersion):
                version = store.stream_version({name!r})
                store.append({name!r}, [new], expected=version)
                break
        print(new.id.hex)
"""
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", script],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        written = [writer.communicate(timeout=2 * PATIENCE)[0] for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0]
        read = list(store.read_stream(name))
        assert [one.version for one in read] == [*range(2 * each)]
        acknowledged = [line for out in written for line in out.split()]
        assert sorted(one.hex() for one in ids(read)) == sorted(acknowledged)
