"""Many appends, one commit: who leads, who waits, and who was interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from modelkeep.errors import Unavailable, WrongVersion
from modelkeep.store import group_commit
from modelkeep.store.group_commit import (
    MOST_APPENDS,
    MOST_BYTES,
    GroupCommit,
    Pending,
    Take,
)
from modelkeep.store.port import ANY, Appended, NewEvent

PATIENCE = 30.0


def pending(size: int = 1) -> Pending:
    return Pending("unit-a.1", [NewEvent(uuid4(), "n", 1, bytes(size), b"")], ANY)


class Disk:
    """Commits when it is let; remembers the groups and who committed them."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.threads: list[str] = []
        self.busy = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def commit(self, take: Take) -> None:
        group = take()
        self.groups.append(len(group))
        self.threads.append(threading.current_thread().name)
        self.busy.set()
        assert self.free.wait(PATIENCE)
        for one in group:
            one.appended = Appended(len(self.groups), 0)

    def block(self) -> None:
        self.busy.clear()
        self.free.clear()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def commits(disk: Disk) -> Iterator[GroupCommit]:
    commits = GroupCommit(disk.commit)
    yield commits
    disk.free.set()
    commits.close()


def waiting(commits: GroupCommit, many: int) -> None:
    while len(commits._line) < many:
        threading.Event().wait(0.001)


def test_alone_one_commits_in_its_own_thread(disk: Disk, commits: GroupCommit) -> None:
    assert commits.run(pending()) == Appended(1, 0)
    assert disk.threads == [threading.current_thread().name]


def test_what_comes_during_a_commit_shares_the_next(
    disk: Disk, commits: GroupCommit
) -> None:
    disk.block()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(commits.run, pending())
        assert disk.busy.wait(PATIENCE)
        rest = [pool.submit(commits.run, pending()) for _ in range(8)]
        waiting(commits, 8)
        disk.free.set()
        assert first.result(PATIENCE) == Appended(1, 0)
        assert {one.result(PATIENCE) for one in rest} == {Appended(2, 0)}
    assert disk.groups == [1, 8]


def test_a_group_has_a_largest_number_and_a_largest_size(
    disk: Disk, commits: GroupCommit
) -> None:
    disk.block()
    commits.submit(pending())
    assert disk.busy.wait(PATIENCE)
    told = [commits.submit(pending()) for _ in range(MOST_APPENDS + 1)]
    told += [commits.submit(pending(MOST_BYTES // 2)) for _ in range(3)]
    told += [commits.submit(pending(MOST_BYTES * 2)) for _ in range(2)]
    disk.free.set()
    for one in told:
        one.result(PATIENCE)
    assert disk.groups == [1, MOST_APPENDS, 2, 2, 1, 1]


def test_waiting_and_submitted_ones_share_a_group(
    disk: Disk, commits: GroupCommit
) -> None:
    disk.block()
    with ThreadPoolExecutor(3) as pool:
        first = commits.submit(pending())
        assert disk.busy.wait(PATIENCE)
        one = pool.submit(commits.run, pending())
        waiting(commits, 1)
        two = commits.submit(pending())
        disk.free.set()
        assert first.result(PATIENCE) == Appended(1, 0)
        assert one.result(PATIENCE) == two.result(PATIENCE) == Appended(2, 0)
    assert disk.threads[0] == "modelkeep-writer"
    assert disk.threads[1] != "modelkeep-writer"


def test_each_is_told_its_own_error() -> None:
    def commit(take: Take) -> None:
        for one in take():
            one.error = WrongVersion(one.stream, one.expected, len(one.events))

    commits = GroupCommit(commit)
    with pytest.raises(WrongVersion):
        commits.run(pending())
    with pytest.raises(WrongVersion):
        commits.submit(pending()).result(PATIENCE)
    commits.close()


def test_who_leads_and_breaks_lets_the_others_go_on(disk: Disk) -> None:
    def commit(take: Take) -> None:
        if not disk.groups:
            disk.groups.append(0)
            raise KeyboardInterrupt
        disk.commit(take)

    commits = GroupCommit(commit)
    with pytest.raises(KeyboardInterrupt):
        commits.run(pending())
    assert commits.run(pending()) == Appended(2, 0)
    commits.close()


def test_who_comes_while_one_waits_for_its_turn_joins_its_group(disk: Disk) -> None:
    arrived, turn = threading.Event(), threading.Event()

    def commit(take: Take) -> None:
        arrived.set()
        assert turn.wait(PATIENCE)
        assert take() is take()
        disk.commit(take)

    commits = GroupCommit(commit)
    first = commits.submit(pending())
    assert arrived.wait(PATIENCE)
    second = commits.submit(pending())
    turn.set()
    assert first.result(PATIENCE) == second.result(PATIENCE) == Appended(1, 0)
    assert disk.groups == [2]
    commits.close()


def test_one_interrupted_while_it_waited_does_not_stop_the_line(
    disk: Disk, commits: GroupCommit
) -> None:
    disk.block()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(commits.run, pending())
        assert disk.busy.wait(PATIENCE)
        left = pending()
        left.wake = threading.Lock()
        commits._line.append(left)
        commits._leave(left)
        disk.free.set()
        first.result(PATIENCE)
        assert left.future is not None
        assert left.future.result(PATIENCE) == Appended(2, 0)
    assert commits.run(pending()) == Appended(3, 0)


def test_one_promoted_while_interrupted_does_not_stop_the_line(
    commits: GroupCommit,
) -> None:
    left = pending()
    left.wake = threading.Lock()
    left.leads = True
    commits._led = True
    commits._line.append(left)
    commits._leave(left)
    assert left.future is not None
    assert left.future.result(PATIENCE) == Appended(1, 0)
    assert commits.run(pending()) == Appended(2, 0)


def test_closing_settles_what_is_in_line_and_takes_no_more(disk: Disk) -> None:
    commits = GroupCommit(disk.commit)
    disk.block()
    told = [commits.submit(pending()) for _ in range(3)]
    closing = threading.Thread(target=commits.close)
    closing.start()
    disk.free.set()
    closing.join(PATIENCE)
    assert all(one.done() for one in told)
    for attempt in (commits.run, commits.submit):
        with pytest.raises(Unavailable, match="closed"):
            attempt(pending())
    commits.close()


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "GAP_S", 10 * PATIENCE)
    monkeypatch.setattr(group_commit, "PATIENCE_S", 10 * PATIENCE)


def test_who_submits_alone_is_never_kept_waiting(
    disk: Disk, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    for turn in range(3):
        assert commits.submit(pending()).result(PATIENCE) == Appended(turn + 1, 0)
    assert disk.groups == [1, 1, 1]


def test_company_that_was_here_lately_is_waited_for(
    disk: Disk, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    disk.block()
    first = commits.submit(pending())
    assert disk.busy.wait(PATIENCE)
    crowd = [commits.submit(pending()) for _ in range(4)]
    disk.free.set()
    first.result(PATIENCE)
    for one in (*crowd, commits.submit(pending())):
        one.result(PATIENCE)
    back = [commits.submit(pending()) for _ in range(5)]
    for one in back:
        one.result(PATIENCE)
    assert disk.groups == [1, 5, 5]


def test_company_that_does_not_come_back_is_not_waited_for_long(
    disk: Disk, commits: GroupCommit
) -> None:
    disk.block()
    first = commits.submit(pending())
    assert disk.busy.wait(PATIENCE)
    crowd = [commits.submit(pending()) for _ in range(40)]
    disk.free.set()
    for one in (first, *crowd, commits.submit(pending())):
        one.result(PATIENCE)
    assert sum(disk.groups) == 42


def test_who_waits_in_person_is_not_kept_for_company(
    disk: Disk, commits: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch)
    disk.block()
    first = commits.submit(pending())
    assert disk.busy.wait(PATIENCE)
    crowd = [commits.submit(pending()) for _ in range(8)]
    disk.free.set()
    first.result(PATIENCE)
    for one in (*crowd, commits.submit(pending())):
        one.result(PATIENCE)
    submitted = commits.submit(pending())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(commits.run, pending()).result(PATIENCE)
    submitted.result(PATIENCE)
