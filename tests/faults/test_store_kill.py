"""kill -9 in the middle of writing: what was acknowledged is there, once and whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from uuid import uuid4

import pytest
from tests.faults.killed_writer import marked

from modelkeep.proof.leaf import event_leaf
from modelkeep.proof.merkle import TILE, Frontier, root_of
from modelkeep.store.port import NO_STREAM
from modelkeep.store.ranked import RankedStore
from modelkeep.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]


def killed_after(ledger: Path, acknowledged: int) -> list[str]:
    """Let a process write until it has said so often "done"; return all it said."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.killed_writer", f"sqlite:{ledger}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    with writer.stdout:
        said = [writer.stdout.readline() for _ in range(acknowledged)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    assert writer.wait() == -signal.SIGKILL
    return [line for line in said if line.endswith("\n")]


def check_said(store: RankedStore, said: list[str]) -> None:
    for line in said:
        stream, version, position, joined = line.split()
        ids = joined.split(",")
        read = store.read_stream(stream, after=int(version) - len(ids), limit=len(ids))
        stored = list(read)
        assert [one.id.hex() for one in stored] == ids
        assert (stored[-1].version, stored[-1].position) == (
            int(version),
            int(position),
        )


def check_whole(store: RankedStore) -> None:
    versions: dict[str, int] = defaultdict(lambda: NO_STREAM)
    ids: Counter[bytes] = Counter()
    marks: Counter[tuple[str, int]] = Counter()
    leaves = []
    for one in store.read_all():
        versions[one.stream] += 1
        assert one.version == versions[one.stream]
        ids[one.id] += 1
        body = json.loads(one.data)
        marks[body["mark"], body["of"]] += 1
        leaves.append(
            event_leaf(
                store.origin,
                one.stream,
                one.version,
                one.id,
                one.name,
                one.schema_version,
                one.data,
                one.metadata,
            )
        )
    assert set(ids.values()) <= {1}
    assert all(many == of for (_, of), many in marks.items())
    assert store.tree() == (len(leaves), root_of(leaves))
    assert list(store.leaves(0, len(leaves))) == leaves
    for at in range(len(leaves) // TILE):
        tile = Frontier.empty()
        tile.extend(leaves[at * TILE : (at + 1) * TILE])
        assert store.node(8, at) == tile.root()


def kill_often(ledger: Path, rounds: int) -> None:
    chance = random.Random(20130101)  # noqa: S311, a seed to repeat it with
    said: list[str] = []
    # One that lives on beside those that die: no lock may stay behind.
    with SqliteStore(ledger) as beside:
        for _ in range(rounds):
            now = killed_after(ledger, chance.randrange(1, 60))
            beside.append(f"beside-{uuid4().hex}.1", marked(3), expected=NO_STREAM)
            check_said(beside, now)
            said += now
    with SqliteStore(ledger) as store:
        check_said(store, said)
        check_whole(store)


def test_fifteen_kills_lose_nothing_and_write_nothing_twice(tmp_path: Path) -> None:
    kill_often(tmp_path / "ledger.db", 15)


@pytest.mark.slow
def test_a_thousand_kills_lose_nothing_and_write_nothing_twice(
    tmp_path: Path,
) -> None:
    kill_often(tmp_path / "ledger.db", 1_000)


def test_the_only_process_may_die_and_the_next_finds_everything(
    tmp_path: Path,
) -> None:
    """Here nobody else holds the file, so each opening recovers the log."""
    ledger = tmp_path / "ledger.db"
    for acknowledged in (1, 7, 40):
        said = killed_after(ledger, acknowledged)
        with SqliteStore(ledger) as store:
            check_said(store, said)
            check_whole(store)
