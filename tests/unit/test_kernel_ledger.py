"""The ledger: a command is answered once, and nobody overwrites anybody."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.jars import (
    JAR,
    NOON,
    Jar,
    JarBroken,
    MarblePut,
    PutMarbles,
    command_ids,
    decide,
    evolve,
    order,
    put,
    smash,
    stored,
    uid,
)

from modelkeep import ledger as kernel
from modelkeep.decider import Context, decider
from modelkeep.errors import (
    AlreadyExists,
    Conflict,
    Corrupt,
    Refused,
    Unavailable,
    WrongVersion,
)
from modelkeep.events.base import decode
from modelkeep.ledger import (
    MAX_ATTEMPTS,
    Ledger,
    Order,
    Written,
    body_hash,
    derived_command_id,
    stamp,
    stream_name,
)
from modelkeep.proof.note import SigningKey
from modelkeep.proof.writers import Signable, check_writers
from modelkeep.proof.writers import Written as Found
from modelkeep.store.port import NO_STREAM, Appended, NewEvent, Recorded, Store
from modelkeep.store.sqlite import SqliteStore
from modelkeep.testing import actor


class Wrapped:
    """A store whose appends may be tampered with; the rest is the store's own."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.submit: Callable[..., Future[Appended]] = store.submit

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


def losing_answers(store: SqliteStore, losses: Iterator[bool]) -> Store:
    """Make a store that writes, and then at times does not say so."""
    wrapped = Wrapped(store)

    def submit(
        stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Future[Appended]:
        told: Future[Appended] = Future()

        def tell(settled: Future[Appended]) -> None:
            error = settled.exception()
            if next(losses, False):
                told.set_exception(Unavailable("the answer was lost"))
            elif error is not None:
                told.set_exception(error)
            else:
                told.set_result(settled.result())

        store.submit(stream, events, expected=expected).add_done_callback(tell)
        return told

    wrapped.submit = submit
    return wrapped  # type: ignore[return-value]  # __getattr__ gives it the rest


def outrun(store: SqliteStore, times: int) -> tuple[Store, list[int]]:
    """Make a store to which somebody else always writes first, so many times."""
    wrapped, numbers, attempts = Wrapped(store), count(1_000), list[int]()

    def submit(
        stream: str, events: Sequence[NewEvent], *, expected: int
    ) -> Future[Appended]:
        attempts.append(expected)
        if len(attempts) <= times:
            with Ledger(store) as other:
                other.execute(put(number=next(numbers)))
        return store.submit(stream, events, expected=expected)

    wrapped.submit = submit
    return wrapped, attempts  # type: ignore[return-value]  # __getattr__ gives it the rest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path / "ledger.db") as store:
        yield store


@pytest.fixture
def ledger(store: SqliteStore) -> Iterator[Ledger]:
    with Ledger(store) as ledger:
        yield ledger


class TestOneAnswer:
    def test_a_command_is_answered_once(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        first = ledger.execute(put())
        again = ledger.execute(put())
        assert first == Written(store.head(), 0)
        assert again == first._replace(replayed=True)
        assert len(stored(store)) == 1

    def test_the_first_answer_stays_after_other_writes(self, ledger: Ledger) -> None:
        first = ledger.execute(put(number=1, count=2))
        for number in range(2, 6):
            ledger.execute(put(number=number))
        assert ledger.execute(put(number=1, count=2)) == first._replace(replayed=True)

    def test_a_ledger_that_has_just_started_gives_the_first_answers(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        firsts = [ledger.execute(put(number=n, count=2)) for n in range(1, 5)]
        for number, first in enumerate(firsts, start=1):
            with Ledger(store) as cold:
                again = cold.execute(put(number=number, count=2))
                assert again == first._replace(replayed=True)
        assert len(stored(store)) == 8

    def test_after_a_retry_what_is_stored_counts_not_what_was_decided_again(
        self, store: SqliteStore
    ) -> None:
        def puts(command: PutMarbles, seen: str, context: Context) -> list[MarblePut]:
            hour = f"at-{context.now.hour}-after-{seen}"  # the clock's, as a due date
            return [MarblePut(jar=command.jar, colour=hour)]

        diary = decider("none", puts, lambda _, event: event.colour)
        told = put(number=1), put(number=1, at=NOON.replace(hour=15)), put(number=2)
        for orders in (told[:1], told[1:]):
            with Ledger(store) as cold:
                for one in orders:
                    cold.execute(replace(one, decider=diary))
        kept = [decode(r.name, r.schema_version, r.data) for r in store.read_all()]
        assert [event.colour for event in kept if isinstance(event, MarblePut)] == [
            "at-12-after-none",
            "at-12-after-at-12-after-none",
        ]

    def test_a_later_command_is_right_on_a_ledger_that_answered_an_old_one(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        for number in range(1, 4):
            ledger.execute(put(number=number))
        with Ledger(store) as cold:
            cold.execute(put(number=1))
            assert cold.execute(put(number=9)).revision == 3
            assert cold.execute(put(number=2)).revision == 1

    def test_an_answer_survives_the_jar_being_broken(self, ledger: Ledger) -> None:
        first = ledger.execute(put(number=1))
        ledger.execute(smash(number=2))
        assert ledger.execute(put(number=1)).position == first.position

    def test_an_id_used_for_another_body_is_refused_and_writes_nothing(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        ledger.execute(put(colour="red"))
        with pytest.raises(AlreadyExists, match=uid(1)):
            ledger.execute(put(colour="blue"))
        with Ledger(store) as cold, pytest.raises(AlreadyExists):
            cold.execute(put(colour="blue"))
        assert len(stored(store)) == 1

    def test_an_id_used_for_another_command_is_refused(self, ledger: Ledger) -> None:
        ledger.execute(put())
        with pytest.raises(AlreadyExists):
            ledger.execute(smash())

    def test_a_command_without_consequences_stores_nothing(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        ledger.execute(put())
        nothing = ledger.execute(put(number=2, count=0))
        assert nothing == Written(store.head(), 0, changed=False)
        assert len(stored(store)) == 1
        assert ledger.execute(put("other", 3, count=0)).revision == NO_STREAM

    def test_a_refusal_stores_nothing_and_may_be_asked_again(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        ledger.execute(smash(number=1))
        for _ in range(2):
            with pytest.raises(Refused, match="jar big is broken"):
                ledger.execute(put(number=2))
        assert len(stored(store)) == 1

    def test_an_evolve_that_cannot_read_its_event_prevents_the_write(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        def puzzled(_: Jar, __: MarblePut) -> Jar:
            raise Corrupt("what is this?")

        def puts(command: PutMarbles, _: Jar, __: object) -> Sequence[MarblePut]:
            return [MarblePut(jar=command.jar, colour=command.colour)]

        unreadable = decider(Jar(), puts, puzzled)
        asked = put()
        with pytest.raises(Corrupt):
            ledger.execute(
                Order(asked.stream, unreadable, asked.command, *_rest(asked))
            )
        assert store.stream_version(asked.stream) == NO_STREAM
        assert ledger.execute(put()).revision == 0


def _rest(asked: Order) -> tuple[Context, str]:
    return asked.context, asked.body_hash


class TestRevisions:
    def test_an_expected_revision_is_one_the_stream_is_at(self, ledger: Ledger) -> None:
        ledger.execute(put(number=1, expected=NO_STREAM))
        assert ledger.execute(put(number=2, expected=0)).revision == 1

    def test_a_conflict_says_where_the_stream_is_now(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        ledger.execute(put(number=1, count=3))
        with pytest.raises(Conflict) as conflict:
            ledger.execute(put(number=2, expected=0))
        assert (conflict.value.expected, conflict.value.current) == (0, 2)
        assert len(stored(store)) == 3

    def test_a_conflict_says_so_to_a_ledger_that_was_outrun(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        ledger.execute(put(number=1))
        with Ledger(store) as other:
            other.execute(put(number=2))
        with pytest.raises(Conflict) as conflict:
            ledger.execute(put(number=3, expected=0))
        assert conflict.value.current == 1

    def test_a_revision_is_right_for_a_ledger_that_was_outrun(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        ledger.execute(put(number=1))
        with Ledger(store) as other:
            other.execute(put(number=2))
        assert ledger.execute(put(number=3, expected=1)).revision == 2

    def test_a_retry_is_answered_whatever_revision_it_expected(
        self, ledger: Ledger
    ) -> None:
        first = ledger.execute(put(number=1, expected=NO_STREAM))
        ledger.execute(put(number=2))
        again = ledger.execute(put(number=1, expected=NO_STREAM))
        assert again.position == first.position


class TestTwoLedgers:
    """Two processes on one store, as far as the store can tell."""

    def test_who_loses_decides_again(self, store: SqliteStore) -> None:
        with Ledger(store) as ours, Ledger(store) as theirs:
            ours.execute(put(number=1))
            theirs.execute(put(number=2))
            assert ours.execute(put(number=3)).revision == 2
        assert list(command_ids(store)) == [uid(1), uid(2), uid(3)]

    def test_who_loses_decides_on_what_is_so_now(self, store: SqliteStore) -> None:
        with Ledger(store) as ours, Ledger(store) as theirs:
            ours.execute(put(number=1))
            theirs.execute(smash(number=2))
            with pytest.raises(Refused, match="broken"):
                ours.execute(put(number=3))
        assert len(stored(store)) == 2

    def test_a_refusal_that_rests_on_the_past_is_looked_at_again(
        self, store: SqliteStore
    ) -> None:
        def toggles(command: PutMarbles, jar: Jar, _: object) -> Sequence[MarblePut]:
            if jar.marbles == 1:
                raise Refused("tests.lonely", "one marble is alone")
            return [MarblePut(jar=command.jar, colour=command.colour)]

        shy = decider(Jar(), toggles, evolve_put)
        with Ledger(store) as ours, Ledger(store) as theirs:
            ours.execute(put(number=1))
            theirs.execute(put(number=2))
            asked = put(number=3)
            written = ours.execute(
                Order(asked.stream, shy, asked.command, *_rest(asked))
            )
        assert written.revision == 2

    def test_nothing_to_do_is_looked_at_again(self, store: SqliteStore) -> None:
        def unless_one(command: PutMarbles, jar: Jar, _: object) -> Sequence[MarblePut]:
            put_it = MarblePut(jar=command.jar, colour=command.colour)
            return [] if jar.marbles == 1 else [put_it]

        lazy = decider(Jar(), unless_one, evolve_put)
        with Ledger(store) as ours, Ledger(store) as theirs:
            ours.execute(put(number=1))
            theirs.execute(put(number=2))
            asked = put(number=3)
            written = ours.execute(
                Order(asked.stream, lazy, asked.command, *_rest(asked))
            )
        assert written.changed

    def test_a_command_answered_by_the_other_is_answered_the_same(
        self, store: SqliteStore
    ) -> None:
        with Ledger(store) as ours, Ledger(store) as theirs:
            ours.execute(put(number=1))
            first = theirs.execute(put(number=2))
            assert ours.execute(put(number=2))[:2] == first[:2]

    def test_who_is_outrun_a_few_times_wins_in_the_end(
        self, store: SqliteStore
    ) -> None:
        busy, attempts = outrun(store, MAX_ATTEMPTS - 1)
        with Ledger(busy) as ledger:
            assert ledger.execute(put()).revision == MAX_ATTEMPTS - 1
        assert len(attempts) == MAX_ATTEMPTS

    def test_who_is_always_outrun_gives_up_with_a_conflict(
        self, store: SqliteStore
    ) -> None:
        busy, attempts = outrun(store, 100)
        with Ledger(busy) as ledger, pytest.raises(Conflict) as conflict:
            ledger.execute(put())
        assert len(attempts) == MAX_ATTEMPTS
        assert not isinstance(conflict.value, WrongVersion)
        assert conflict.value.current == store.stream_version("jar-main.big")
        assert uid(1) not in set(command_ids(store))


def evolve_put(jar: Jar, event: MarblePut) -> Jar:
    return evolve(jar, event)


class TestLostAnswers:
    def test_a_command_whose_answer_was_lost_is_written_once(
        self, store: SqliteStore
    ) -> None:
        with Ledger(losing_answers(store, iter([True]))) as ledger:
            with pytest.raises(Unavailable):
                ledger.execute(put(count=3))
            written = ledger.execute(put(count=3))
        assert written.revision == 2
        assert len(stored(store)) == 3

    def test_it_is_written_once_though_others_wrote_in_between(
        self, store: SqliteStore
    ) -> None:
        losses = iter([False, True, False])
        with Ledger(losing_answers(store, losses)) as ledger:
            ledger.execute(put(number=1))
            with pytest.raises(Unavailable):
                ledger.execute(put(number=2))
            with Ledger(store) as other:
                other.execute(put(number=3))
            assert ledger.execute(put(number=2)).revision == 1
            assert ledger.execute(put(number=4)).revision == 3

    def test_another_body_is_still_refused_after_a_lost_answer(
        self, store: SqliteStore
    ) -> None:
        with Ledger(losing_answers(store, iter([True]))) as ledger:
            with pytest.raises(Unavailable):
                ledger.execute(put(colour="red"))
            with pytest.raises(AlreadyExists):
                ledger.execute(put(colour="blue"))
        assert len(stored(store)) == 1


class TestTurns:
    def test_commands_on_one_stream_take_turns(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        with ThreadPoolExecutor(8) as people:
            answers = list(
                people.map(lambda n: ledger.execute(put(number=n)), range(1, 101))
            )
        assert sorted(answer.revision for answer in answers) == list(range(100))
        assert Counter(command_ids(store)) == Counter(uid(n) for n in range(1, 101))

    def test_the_same_command_asked_by_many_at_once_happens_once(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        together = threading.Barrier(8)

        def ask(_: int) -> Written:
            together.wait()
            return ledger.execute(put())

        with ThreadPoolExecutor(8) as people:
            answers = list(people.map(ask, range(8)))
        assert {answer[:2] for answer in answers} == {(store.head(), 0)}
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
        assert len(stored(store)) == 1

    def test_who_waits_behind_a_refusal_is_answered(self, ledger: Ledger) -> None:
        ledger.execute(smash(number=1))
        asked = [ledger.submit(put(number=n)) for n in range(2, 10)]
        asked.append(ledger.submit(smash(number=10)))
        for refused in asked[:-1]:
            assert isinstance(refused.exception(timeout=10), Refused)
        assert not asked[-1].result(timeout=10).changed

    def test_a_fold_that_was_dropped_is_read_again(
        self, ledger: Ledger, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kernel, "CACHED_FOLDS", 2)
        firsts = [ledger.execute(put(f"jar{n}", n)) for n in range(1, 7)]
        for number, first in enumerate(firsts, start=1):
            jar = f"jar{number}"
            assert ledger.execute(put(jar, number)).position == first.position
            assert ledger.execute(put(jar, 100 + number)).revision == 1
        assert len(list(store.read_all())) == 12


class TestWhatIsStored:
    def test_event_ids_derive_from_stream_command_and_body(
        self, tmp_path: Path
    ) -> None:
        def ids(folder: str, asked: Order) -> list[UUID]:
            with SqliteStore(tmp_path / folder) as store, Ledger(store) as ledger:
                ledger.execute(asked)
                return [one.uuid for one in store.read_all()]

        here = ids("a.db", put(count=3))
        assert here == ids("b.db", put(count=3))
        assert len(set(here)) == 3
        others = [
            put(count=3, colour="blue"),
            put(number=2, count=3),
            put("x", count=3),
        ]
        for index, other in enumerate(others):
            assert not set(here) & set(ids(f"other-{index}.db", other))
        assert all(one.version == 5 for one in here)

    def test_metadata_is_flat_text_with_known_at_first(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        dana = actor("dana", "validator", "auditor", issuer="https://id.example")
        asked = order(
            PutMarbles(jar="big"),
            uid(7),
            by=dana,
            effective_at=NOON.replace(year=2025),
        )
        ledger.execute(asked)
        (one,) = store.read_all()
        meta = json.loads(one.metadata)
        assert one.metadata.startswith(b'{"known_at":"2026-01-05T12:00:00.000000Z",')
        assert all(isinstance(value, str) for value in meta.values())
        assert meta == {
            "known_at": "2026-01-05T12:00:00.000000Z",
            "effective_at": "2025-01-05T12:00:00.000000Z",
            "tenant": "main",
            "actor_issuer": "https://id.example",
            "actor_subject": "dana",
            "actor_roles": "auditor,validator",
            "command_id": uid(7),
            "body_hash": body_hash(asked.command),
            "$correlationId": uid(7),
            "schema_version": "1",
        }

    def test_a_reactions_event_names_its_cause(
        self, ledger: Ledger, store: SqliteStore
    ) -> None:
        asked = put()
        caused = asked.context._replace(cause=uid(9))
        ledger.execute(Order(asked.stream, JAR, asked.command, caused, asked.body_hash))
        (one,) = store.read_all()
        assert one.meta["$causationId"] == uid(9)

    def test_every_append_is_signed_by_its_writer(self, store: SqliteStore) -> None:
        key = SigningKey.generate("writer")
        with Ledger(store, signer=key) as ledger:
            ledger.execute(put(number=1, count=3))
            ledger.execute(smash(number=2))
            ledger.execute(put("other", 3))
        vouched = check_writers(_found(store.read_all()), [key.verifier])
        assert (vouched.events, vouched.doubtful) == ({"writer": 5}, 0)

    def test_an_event_that_was_tampered_with_has_no_writer(
        self, store: SqliteStore
    ) -> None:
        key = SigningKey.generate("writer")
        with Ledger(store, signer=key) as ledger:
            ledger.execute(put(count=2))
        forged = [
            one._replace(data=one.data.replace(b"red", b"tan"))
            for one in store.read_all()
        ]
        assert check_writers(_found(iter(forged)), [key.verifier]).doubtful == 2

    def test_moments_are_written_so_that_they_sort_as_time_does(self) -> None:
        moments = [NOON.replace(microsecond=n) for n in (0, 1, 999_999)]
        assert [stamp(one) for one in moments] == sorted(stamp(one) for one in moments)
        assert {len(stamp(one)) for one in moments} == {27}

    def test_a_body_is_the_same_whether_a_default_was_said_or_not(self) -> None:
        said = body_hash(PutMarbles(jar="big", colour="red", count=1))
        assert body_hash(PutMarbles(jar="big")) == said
        assert body_hash(PutMarbles(jar="big", count=2)) != said

    def test_a_stream_without_a_key_is_the_whole_ledgers(self) -> None:
        assert stream_name("jar", "main", "big") == "jar-main.big"
        assert stream_name("clock", "main", "") == "clock"

    def test_a_reactions_command_id_names_cause_reactor_stream_and_command(
        self,
    ) -> None:
        said = {
            derived_command_id(UUID(int=cause), reactor, stream, command)
            for cause in (1, 2)
            for reactor in "ab"
            for stream in "cd"
            for command in "ef"
        }
        assert len(said) == 16


def _found(recorded: Iterator[Recorded]) -> Iterator[Found]:
    for leaf, one in enumerate(recorded):
        told = Signable(one.id, one.name, one.schema_version, one.data, one.metadata)
        yield Found(leaf, one.stream, one.version, told)


# --- any interleaving --------------------------------------------------------------


class Ask(NamedTuple):
    """One thing that happens: a command reaches a ledger, which may have restarted,
    whose answer may get lost, and whose caller may not wait for it.
    """

    ledger: int
    number: int
    restarted: bool
    lost: bool
    waits: bool


ASKS = st.lists(
    st.builds(
        Ask,
        st.integers(0, 1),
        st.integers(1, 5),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=14,
)
TENANTS = count()


def numbered(number: int, tenant: str) -> Order:
    """Commands 1 to 5 are for two jars, with one to three marbles each."""
    by = actor("somebody", tenant=tenant)
    return put(f"jar{number % 2}", number, count=1 + number % 3, by=by)


class World:
    """Two ledgers, each losing the answers it is told to lose."""

    def __init__(self, store: SqliteStore, stack: ExitStack) -> None:
        self.store, self.stack = store, stack
        self.losses: list[list[bool]] = [[], []]
        self.ledgers = [self._fresh(0), self._fresh(1)]

    def _fresh(self, index: int) -> Ledger:
        def lost() -> Iterator[bool]:
            while True:
                yield self.losses[index].pop() if self.losses[index] else False

        store = losing_answers(self.store, lost())
        return self.stack.enter_context(Ledger(store))

    def take(self, ask: Ask, asked: Order) -> Future[Written]:
        if ask.restarted:
            self.ledgers[ask.ledger] = self._fresh(ask.ledger)
        if ask.lost:
            self.losses[ask.ledger].append(True)
        future = self.ledgers[ask.ledger].submit(asked)
        if ask.waits:
            future.exception(timeout=30)
        return future


def check_any_interleaving(store: SqliteStore, asks: Sequence[Ask]) -> None:
    tenant = f"t{next(TENANTS)}"
    told: dict[int, set[tuple[int, int]]] = {}
    with ExitStack() as stack:
        world = World(store, stack)
        futures = [(a.number, world.take(a, numbered(a.number, tenant))) for a in asks]
        for number, future in futures:
            with suppress(Unavailable, Conflict):
                told.setdefault(number, set()).add(future.result(timeout=30)[:2])
    with Ledger(store) as last:
        for number in {a.number for a in asks}:
            written = last.execute(numbered(number, tenant))
            told.setdefault(number, set()).add(written[:2])
    events = [
        one.meta["command_id"]
        for jar in ("jar0", "jar1")
        for one in store.read_stream(stream_name("jar", tenant, jar))
    ]
    assert Counter(events) == {uid(n): 1 + n % 3 for n in told}
    assert all(len(answers) == 1 for answers in told.values())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    with SqliteStore(tmp_path_factory.mktemp("any") / "ledger.db") as store:
        yield store


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(asks=ASKS)
def test_any_interleaving_leaves_each_command_once(
    shared: SqliteStore, asks: list[Ask]
) -> None:
    check_any_interleaving(shared, asks)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(asks=ASKS)
def test_ten_thousand_interleavings_leave_each_command_once(
    shared: SqliteStore, asks: list[Ask]
) -> None:
    check_any_interleaving(shared, asks)


def test_a_decider_never_sees_its_command_twice_in_one_state(
    store: SqliteStore,
) -> None:
    """A replayed command is answered before `decide` runs."""
    seen: list[int] = []

    def watching(
        command: PutMarbles, jar: Jar, context: Context
    ) -> Sequence[MarblePut | JarBroken]:
        seen.append(jar.marbles)
        return decide(command, jar, context)

    watched = decider(Jar(), watching, evolve)
    asked = put()
    told = Order(asked.stream, watched, asked.command, *_rest(asked))
    with Ledger(store) as ledger:
        for _ in range(3):
            ledger.execute(told)
    assert seen == [0]
