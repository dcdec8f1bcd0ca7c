"""A trust policy (C2SP tlog-policy): the witnesses, and how many of them must agree.

    witness auditor  auditor.example/w+1f2e3d4c+BA…  https://witness.auditor.example
    witness board    board.example/w+5a6b7c8d+BA…    https://witness.board.example
    group   both     all auditor board
    quorum  both

One file serves the ledger, which asks the witnesses at their addresses, and whoever
verifies, who needs their keys and the quorum alone. A `log` line says which keys may
sign for the log at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from modelkeep.proof.cosignature import WitnessKey
from modelkeep.proof.errors import Malformed
from modelkeep.proof.note import VerifierKey

MAX_POLICY_BYTES: Final = 1 << 18
MAX_ENTRIES: Final = 256
NOBODY: Final = "none"

Met = Callable[[Collection[WitnessKey]], bool]
"""Told who cosigned; says whether that will do."""


class Witness(NamedTuple):
    """`name` has a meaning in the policy alone; `url` is empty where none was given."""

    name: str
    key: WitnessKey
    url: str


class Policy(NamedTuple):
    """`met` says whether those who cosigned are enough."""

    witnesses: tuple[Witness, ...]
    logs: tuple[VerifierKey, ...]
    met: Met
    quorum: str

    @property
    def keys(self) -> list[WitnessKey]:
        return [one.key for one in self.witnesses]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; raises Malformed, OSError."""
        with path.open("rb") as file:
            raw = file.read(MAX_POLICY_BYTES + 1)
        if len(raw) > MAX_POLICY_BYTES:
            raise Malformed(f"{path}: more than {MAX_POLICY_BYTES} bytes")
        try:
            return cls.parse(raw.decode())
        except UnicodeDecodeError as error:
            raise Malformed(f"{path} is not UTF-8") from error
        except Malformed as error:
            raise Malformed(f"{path}, {error}") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy; raises Malformed, naming the line."""
        reading = _Reading()
        for number, words in _lines(text):
            try:
                reading.take(words)
            except Malformed as error:
                raise Malformed(f"line {number}: {error}") from None
        if reading.quorum is None:
            raise Malformed("a policy has a quorum line")
        name, met = reading.quorum
        return cls(tuple(reading.witnesses), tuple(reading.logs), met, name)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if any(character < " " and character != "\t" for character in line):
            raise Malformed(f"line {number}: a control character")
        words = line.replace("\t", " ").split(" ")
        said = [word for word in words if word]
        if said and not said[0].startswith("#"):
            yield number, said


class _Reading:
    """The lines so far. A name means what an earlier line said, so nothing is circular;
    and is a member once, so that nobody counts twice.
    """

    def __init__(self) -> None:
        self.witnesses: list[Witness] = []
        self.logs: list[VerifierKey] = []
        self.quorum: tuple[str, Met] | None = None
        self._means: dict[str, Met] = {}
        self._used: set[str] = set()

    def take(self, words: list[str]) -> None:
        kind, *rest = words
        match kind, rest:
            case "log", [key, *url] if len(url) <= 1:
                self._log(VerifierKey.parse(key))
            case "witness", [name, key, *url] if len(url) <= 1:
                self._witness(Witness(name, WitnessKey.parse(key), "".join(url)))
            case "group", [name, many, *members] if members:
                self._group(name, many, members)
            case "quorum", [name] if self.quorum is None:
                nobody = name == NOBODY
                self.quorum = (name, _anything if nobody else self._meant(name))
            case _:
                raise Malformed(f"{' '.join(words)[:60]!r} is no line of a policy")
        if max(len(self._means), len(self.logs)) > MAX_ENTRIES:
            raise Malformed(f"more than {MAX_ENTRIES} names")

    def _log(self, key: VerifierKey) -> None:
        if any(key.public == other.public for other in self.logs):
            raise Malformed(f"the key of log {key.name} is there twice")
        self.logs.append(key)

    def _witness(self, witness: Witness) -> None:
        if any(witness.key.public == other.key.public for other in self.witnesses):
            raise Malformed(f"the key of witness {witness.name} is there twice")
        key = witness.key
        self._define(witness.name, lambda who: key in who)
        self.witnesses.append(witness)

    def _group(self, name: str, many: str, members: list[str]) -> None:
        means = [self._meant(member) for member in members]
        for member in members:
            if member in self._used:
                raise Malformed(f"{member} is a member twice")
            self._used.add(member)
        wanted = {"all": len(members), "any": 1}.get(many)
        if wanted is None:
            if not (many.isascii() and many.isdecimal()) or len(many) > len("256"):
                raise Malformed(f"{many[:20]!r} of {len(members)} is no number")
            wanted = int(many)
        if not 1 <= wanted <= len(members):
            raise Malformed(f"{wanted} of {len(members)} cannot be")
        self._define(name, lambda who: sum(mean(who) for mean in means) >= wanted)

    def _meant(self, name: str) -> Met:
        if name not in self._means:
            raise Malformed(f"{name!r} was not named on a line before")
        return self._means[name]

    def _define(self, name: str, met: Met) -> None:
        if name in self._means or name == NOBODY:
            raise Malformed(f"{name!r} is named already")
        self._means[name] = met


def _anything(_: Collection[WitnessKey]) -> bool:
    return True
