"""Views kept by a process of their own: who answers and who projects do not share one.

CPython runs one thread at a time, so a process that projects while it serves does both
at half the speed, however many processors there are. Here a child follows the store and
writes the view files; the parent reads them and is told, a line of JSON at a time, how
far they have come:

    {"views": "inventory", "position": 42, "ticks": ["2013-06-30T…"], "halt": null}

and it tells the child, a name a line on its standard input, whose rows somebody waits
for. That input ends when the parent dies, and so does the child. A child that dies is
started again: its files hold whole batches or none. Where none can be started, or none
has a word to say, the views halt until one has.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial
from typing import Final, Self, TextIO

from modelkeep.home import Home
from modelkeep.store.port import Store
from modelkeep.viewfile import Halt
from modelkeep.views import AnyView
from modelkeep.viewset import ViewSet

log = logging.getLogger(__name__)

AGAIN_S: Final = 0.5
IN_VAIN: Final = 3
"""Children in a row that ended without a word: then the views say that nobody keeps
them.
"""
STOP_S: Final = 5.0


class Projector:
    """The parent's side: keeps a child at work on some view sets.

    `command` starts the child; the descriptor it is to write to is added at its end.
    """

    def __init__(self, command: Sequence[str], views: Sequence[ViewSet]) -> None:
        self._command = list(command)
        self._views = {one.name: one for one in views}
        self._closing = threading.Event()
        self.child: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="projector", daemon=True)

    def __enter__(self) -> Self:
        for name, views in self._views.items():
            views.hurry = partial(self._ask, name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with self._asking:
            self._let_go()
        self._thread.join()

    def _run(self) -> None:
        in_vain = 0
        while not self._closing.is_set():
            spoke, problem = self._keep()
            if self._closing.is_set():
                return
            in_vain = 0 if spoke else in_vain + 1
            log.error("the process that keeps the views %s; starting another", problem)
            if in_vain >= IN_VAIN:
                self._halt(problem)
            self._closing.wait(AGAIN_S)

    def _keep(self) -> tuple[bool, str]:
        """Keep a child until it ends. Return whether it ever said anything, and what
        became of it.
        """
        spoke = False
        try:
            said = self._start()
        except OSError as problem:
            return spoke, f"cannot be started: {problem}"
        with said:
            for line in said:
                self._heard(line)
                spoke = True
        return spoke, f"is gone (exit code {self._bury()})"

    def _halt(self, problem: str) -> None:
        """Let nobody take rows for current that nobody keeps, until a child speaks."""
        for views in self._views.values():
            reason = f"the process that keeps them {problem}"
            views.told(views.position, (), Halt(views.position + 1, "", reason))

    def _start(self) -> TextIO:
        hears, tells = os.pipe()
        try:
            child = subprocess.Popen(  # noqa: S603  # our own program
                [*self._command, str(tells)],
                stdin=subprocess.PIPE,
                pass_fds=[tells],
                text=True,
            )
        except BaseException:
            os.close(hears)
            raise
        finally:
            os.close(tells)
        with self._asking:
            self.child = child
            if self._closing.is_set():
                self._let_go()
        return os.fdopen(hears, encoding="utf-8")

    def _heard(self, line: str) -> None:
        said = json.loads(line)
        halt = said["halt"]
        self._views[said["views"]].told(
            said["position"],
            [datetime.fromisoformat(instant) for instant in said["ticks"]],
            halt and Halt(*halt),
        )

    def _ask(self, name: str) -> None:
        # Not asked is only not hurried, so nobody waits here for anything.
        if self._asking.acquire(blocking=False):
            try:
                if self.child is not None and self.child.stdin is not None:
                    with suppress(OSError, ValueError):
                        self.child.stdin.write(f"{name}\n")
                        self.child.stdin.flush()
            finally:
                self._asking.release()

    def _let_go(self) -> None:
        if self.child is not None and self.child.stdin is not None:
            with suppress(OSError):
                self.child.stdin.close()

    def _bury(self) -> int | None:
        with self._asking:
            self._let_go()
            child, self.child = self.child, None
        if child is None:
            return None
        try:
            return child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def project(
    home: Home, store: Store, views: Mapping[str, Sequence[AnyView]], tells: int
) -> None:
    """The child's side: keep the views of some services until standard input ends."""
    closing = threading.Event()
    with ExitStack() as opened:
        said = opened.enter_context(os.fdopen(tells, "w", encoding="utf-8"))
        teller = _Teller(said.fileno(), closing)
        keepers = {
            name: opened.enter_context(_Keeper(home, store, name, some, teller))
            for name, some in views.items()
        }
        threading.Thread(target=_listen, args=(keepers, closing), daemon=True).start()
        for keeper in keepers.values():
            keeper.views.start()
        closing.wait()


def _listen(keepers: Mapping[str, _Keeper], closing: threading.Event) -> None:
    for line in sys.stdin:
        keeper = keepers.get(line.strip())
        if keeper is not None:
            keeper.views.hurry()
    closing.set()


class _Teller:
    """What the parent is told, a line at a time whichever thread tells it."""

    def __init__(self, descriptor: int, closing: threading.Event) -> None:
        self._descriptor, self._closing = descriptor, closing
        self._lock = threading.Lock()

    def tell(self, said: Mapping[str, object]) -> None:
        line = f"{json.dumps(said)}\n".encode()
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError:  # nobody hears: the parent is gone
            self._closing.set()


class _Keeper:
    """One service's views here, and what is said of them there."""

    def __init__(
        self,
        home: Home,
        store: Store,
        name: str,
        views: Sequence[AnyView],
        teller: _Teller,
    ) -> None:
        self._name, self._teller = name, teller
        self._ticks: list[datetime] = []
        self.views = ViewSet(
            name, views, store, home.views(name), saw=self._ticks.append, moved=self.say
        )

    def say(self) -> None:
        halt = self.views.halt
        self._teller.tell(
            {
                "views": self._name,
                "position": self.views.position,
                "ticks": [instant.isoformat() for instant in self._ticks],
                "halt": halt and [halt.position, halt.event, halt.reason],
            }
        )
        self._ticks.clear()

    def __enter__(self) -> Self:
        self.views.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.views.close()
