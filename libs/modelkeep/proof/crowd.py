"""Signatures checked by other processes, while this one reads on.

An Ed25519 signature costs as much as thirty events' hashes, and each append has one. So
they are handed over some at a time; what comes back is whether each fits. A few are
checked here: to start a process costs more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from modelkeep.proof.note import VerifierKey

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

MOST: Final = 16
FEW: Final = 256
"""Signatures that are sooner checked than a process is started."""


class Signed(NamedTuple):
    key: VerifierKey
    message: bytes
    signature: bytes


Answer: TypeAlias = Callable[[], Sequence[bool]]
"""Waits for which of some signatures fit, in their order."""
Check: TypeAlias = Callable[[Sequence[Signed]], Answer]
"""Begins to check some."""


def here(signed: Sequence[Signed]) -> Answer:
    """Check in this process, at once."""
    found = [one.key.verifies(one.message, one.signature) for one in signed]
    return lambda: found


def _fits(told: Sequence[tuple[str, bytes, bytes, bytes]]) -> list[bool]:
    """Check what travelled here: key's name, key, message and signature of each."""
    return [
        _key(name, public).verifies(message, signature)
        for name, public, message, signature in told
    ]


@lru_cache(maxsize=256)
def _key(name: str, public: bytes) -> VerifierKey:
    return VerifierKey(name, public)


def processors() -> int:
    """Return how many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def checking(processes: int) -> Iterator[Check]:
    """Check by so many processes, this one among them; by this one alone, if it is 1.

    They start with the first that are to be checked, and end with the context.
    """
    if processes < 2:  # noqa: PLR2004, it takes two
        yield here
        return
    with ExitStack() as open_:
        # None is started, nor what they need imported, for a ledger without signatures.
        crowd = cache(lambda: open_.enter_context(_crowd(min(processes, MOST) - 1)))

        def check(signed: Sequence[Signed]) -> Answer:
            if len(signed) < FEW:
                return here(signed)
            told = [
                (one.key.name, one.key.public, one.message, one.signature)
                for one in signed
            ]
            return crowd().submit(_fits, told).result

        yield check


@contextmanager
def _crowd(size: int) -> Iterator[ProcessPoolExecutor]:
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415, half of the start
    from multiprocessing import get_context  # noqa: PLC0415, the same

    # A fork of this very process could inherit what another thread of it holds.
    with ProcessPoolExecutor(size, mp_context=get_context("forkserver")) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
