"""The parsers of `fuzz.py`, fed by a library that watches which lines an input reaches.

    python -m tests.faults.fuzz_guided                       a minute for each parser
    python -m tests.faults.fuzz_guided --seconds 3600 note   an hour of one
    python -m tests.faults.fuzz_guided note --again BASE64   one input once more

An input that reaches something new is kept (in build/fuzz, from one run to the next)
and spoiled further, so a defect behind three checks is found, where blind luck finds
those behind one. Needs `atheris` (group `fuzz`). It slows the code down and ends the
process it runs in: each parser has one of its own, and what failed there counts if it
fails again without it. A line of JSON tells of each parser; `input` is in base64.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tests.faults.spoiling import WORDS, replanted, spoiled

if TYPE_CHECKING:
    from tests.faults.parser import Parser

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = ROOT / "build" / "fuzz"
WATCHED: Final = (
    "modelkeep",
    "modelkeep_services",
    "yaml",
    "jwt",
    "tarfile",
    "zipfile",
)
"""Whose lines count, below what is generated."""
MOST_S: Final = 1.0
HANGS_S: Final = 60
RSS_MB: Final = 2_048
MOST_STARTS: Final = 5
MOST_WRONG: Final = 20
LONGEST_WORD: Final = 60
STOPS: Final = (KeyboardInterrupt, SystemExit)
ENDED: Final = "ended the process"
LOG, TOLD, WRONG = ".log", ".json", "-wrong-"
WORDS_FILE: Final = "words"
REACHED: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass
class Wrong:
    """A way of failing, and the shortest input that was seen to fail so."""

    what: str
    times: int
    input: str


@dataclass
class Fed:
    """What became of one parser. `slowest` is the input that took longest, in base64;
    `edges` and `features` are the library's own count of what was reached.
    """

    parser: str
    runs: int = 0
    read: int = 0
    refused: int = 0
    cpu_s: float = 0.0
    edges: int = 0
    features: int = 0
    corpus: int = 0
    slowest_ms: float = 0.0
    slowest: str = ""
    wrong: list[Wrong] = field(default_factory=list)


# --- in the process that is watched --------------------------------------------------


class Feeder:
    """Feeds a parser until its processor time is used up, and then ends the process."""

    def __init__(self, parser: Parser, fed: Fed, seconds: float, told: Path) -> None:
        self._parser, self._fed = parser, fed
        self._seconds, self._told = seconds, told
        self._wrong: dict[str, Wrong] = {}
        self._due = 0.0

    def feed(self, raw: bytes) -> None:
        fed, began = self._fed, time.process_time()
        try:
            self._parser.read(raw)
            fed.read += 1
        except self._parser.refuses:
            fed.refused += 1
        except STOPS:
            raise
        except BaseException as error:  # noqa: BLE001  # also what is no Exception
            self._note(place_of(error), raw)
        now = time.process_time()
        took = round((now - began) * 1e3, 1)
        if took > fed.slowest_ms:
            fed.slowest_ms, fed.slowest = took, spelled(raw)
        if took > MOST_S * 1e3:
            self._note("took more than a second", raw)
        fed.runs += 1
        if now >= min(self._due, self._seconds):
            self._tell(now)

    def spoil(self, raw: bytes, most: int, seed: int) -> bytes:
        """The library's own changes, and those that `fuzz.py` makes."""
        import atheris  # noqa: PLC0415  # a group that few install

        chance = random.Random(seed)  # noqa: S311, to repeat it
        match chance.randrange(6):
            case 0:
                return spoiled(chance, [raw, *self._parser.seeds])[:most]
            case 1 | 2:
                return replanted(chance, raw)[:most]
            case _:
                return bytes(atheris.Mutate(raw, most))

    def _note(self, what: str, raw: bytes) -> None:
        said = spelled(raw)
        known = self._wrong.get(what)
        if known is None and len(self._wrong) < MOST_WRONG:
            self._wrong[what] = Wrong(what, 1, said)
        elif known is not None:
            known.times += 1
            known.input = min(known.input, said, key=len)

    def _tell(self, now: float) -> None:
        self._due = now + 1
        self._fed.cpu_s = round(now, 1)
        self._fed.wrong = list(self._wrong.values())
        self._told.write_text(json.dumps(asdict(self._fed)))
        if now >= self._seconds:
            sys.stderr.flush()
            os._exit(0)  # as the library itself ends


def inside(names: Sequence[str], seconds: float, folder: Path, corpus: Path) -> None:
    """Feed parsers here, one after another, each in a child of this process, which has
    loaded all of them under watch. Prints the name of each that is done.
    """
    import atheris  # noqa: PLC0415  # a group that few install

    # Once it feeds nothing more can be watched, so what is imported late is had before.
    with atheris.instrument_imports(include=list(WATCHED)):
        from tests.faults import planted  # noqa: PLC0415
        from tests.faults.parsers import parsers  # noqa: PLC0415

        known = dict(parsers(folder))
        if planted.NAME in names:
            one = planted.planted()
            watched = atheris.instrument_func(one.read)
            known |= {planted.NAME: one._replace(read=watched)}
        for name in names:
            for seed in known[name].seeds:
                told_again(known[name], seed)
    for name in names:
        left, start = seconds, 0
        while left > seconds / 100 and start < MOST_STARTS:
            place = folder / f"{name}-{start}"
            child = os.fork()
            if not child:
                _feed(name, known[name], left, place, corpus / name)
            os.waitpid(child, 0)
            left -= _used(place) or seconds
            start += 1
        print(name, flush=True)  # noqa: T201  # for whoever waits


def _feed(
    name: str, parser: Parser, seconds: float, place: Path, corpus: Path
) -> NoReturn:
    import atheris  # noqa: PLC0415  # a group that few install

    with place.with_suffix(LOG).open("wb") as log:
        for said in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), said.fileno())
    feeder = Feeder(parser, Fed(name), seconds, place.with_suffix(TOLD))
    arguments = [
        sys.argv[0],
        f"-artifact_prefix={place}{WRONG}",
        f"-dict={place.parent / WORDS_FILE}",
        f"-timeout={HANGS_S}",
        f"-rss_limit_mb={RSS_MB}",
        "-report_slow_units=1000000",  # by the clock, and here processor time counts
        str(corpus),
    ]
    atheris.Setup(arguments, feeder.feed, custom_mutator=feeder.spoil)
    atheris.Fuzz()
    os._exit(0)


def _used(place: Path) -> float:
    told = place.with_suffix(TOLD)
    return float(json.loads(told.read_text())["cpu_s"]) if told.exists() else 0.0


def place_of(error: BaseException) -> str:
    """Say what was raised, and the last line of this project that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if "/modelkeep" in one.filename] or frames[-1:]
    at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {at}"


def spelled(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# --- in the process that is asked ----------------------------------------------------


def told_again(parser: Parser, raw: bytes) -> tuple[str, float]:
    """What is wrong with reading it, if anything is, and the milliseconds it took."""
    began, wrong = time.process_time(), ""
    try:
        parser.read(raw)
    except parser.refuses:
        pass
    except STOPS:
        raise
    except BaseException as error:  # noqa: BLE001  # also what is no Exception
        wrong = f"{place_of(error)}: {error}"[:300]
    took = time.process_time() - began
    if not wrong and took > MOST_S:
        wrong = f"took {took:.1f} s"
    return wrong, round(took * 1e3, 1)


def guided(
    names: Sequence[str], known: Mapping[str, Parser], seconds: float, corpus: Path
) -> Iterator[Fed]:
    """Feed each for so much processor time, in processes of their own."""
    for name in names:
        (corpus / name).mkdir(parents=True, exist_ok=True)
        for seed in known[name].seeds:
            called = hashlib.sha1(seed, usedforsecurity=False).hexdigest()
            (corpus / name / called).write_bytes(seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / WORDS_FILE).write_text("".join(map(_entry, WORDS)))
        asked = ("--inside", made, "--seconds", str(seconds), "--corpus", str(corpus))
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-m", __spec__.name, *asked, *names],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            for line in process.stdout or ():
                yield _judged(known[line.strip()], _whole(folder, line.strip()))
        if process.returncode:
            raise RuntimeError((folder / "log").read_text(errors="replace")[-2_000:])


def _whole(folder: Path, name: str) -> Fed:
    """What was told of a parser, each time that it was begun."""
    whole = Fed(name)
    for log in sorted(folder.glob(f"{name}-?{LOG}")):
        told = log.with_suffix(TOLD)
        part = _fed(json.loads(told.read_text())) if told.exists() else Fed(name)
        for path in folder.glob(f"{log.stem}{WRONG}*"):
            what = f"{ENDED}: {path.name.removeprefix(log.stem + WRONG)[:7]}"
            part.wrong.append(Wrong(what, 1, spelled(path.read_bytes())))
        said = log.read_text(errors="replace")
        reached = REACHED.findall(said)
        if not reached and not part.wrong:
            raise RuntimeError(f"{name}: {said[-2_000:]}")
        if reached:
            part.edges, part.features, part.corpus = map(int, reached[-1])
        _add(whole, part)
    return whole


def _judged(parser: Parser, whole: Fed) -> Fed:
    told_again(parser, parser.seeds[0])  # what is loaded once is not counted
    whole.wrong = [again for one in whole.wrong if (again := _again(parser, one))]
    _, whole.slowest_ms = told_again(parser, base64.b64decode(whole.slowest))
    return whole


def _again(parser: Parser, one: Wrong) -> Wrong | None:
    """What fails only while it is watched is no failure."""
    if one.what.startswith(ENDED):
        return one
    what, _ = told_again(parser, base64.b64decode(one.input))
    return Wrong(what, one.times, one.input) if what else None


def _fed(said: dict[str, Any]) -> Fed:
    return Fed(**{**said, "wrong": [Wrong(**one) for one in said["wrong"]]})


def _entry(word: bytes) -> str:
    """A word as the library's dictionaries spell it."""
    spelling = "".join(f"\\x{byte:02X}" for byte in word)
    return f'"{spelling}"\n' if 0 < len(word) <= LONGEST_WORD else ""


def _add(whole: Fed, part: Fed) -> None:
    whole.runs += part.runs
    whole.read += part.read
    whole.refused += part.refused
    whole.cpu_s = round(whole.cpu_s + part.cpu_s, 1)
    whole.edges = max(whole.edges, part.edges)
    whole.features = max(whole.features, part.features)
    whole.corpus = max(whole.corpus, part.corpus)
    if part.slowest_ms >= whole.slowest_ms:
        whole.slowest_ms, whole.slowest = part.slowest_ms, part.slowest
    whole.wrong += part.wrong


# --- the command ---------------------------------------------------------------------


def main() -> int:
    given = argparse.ArgumentParser(description="Feed parsers what leads further in.")
    given.add_argument("names", nargs="*", help="which [all]")
    given.add_argument("--seconds", type=float, default=60.0, help="of each, of CPU")
    given.add_argument("--corpus", type=Path, default=CORPUS, help="[build/fuzz]")
    given.add_argument("--again", metavar="BASE64", help="read this once, unwatched")
    given.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = given.parse_args()
    if asked.inside:
        inside(asked.names, asked.seconds, asked.inside, asked.corpus)
        return 0
    from tests.faults import planted  # noqa: PLC0415  # inside it is watched
    from tests.faults.parsers import parsers  # noqa: PLC0415

    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        known = dict(parsers(Path(folder)))
        names = asked.names or list(known)
        known |= {planted.NAME: planted.planted()}
        if asked.again is not None:
            wrong, took = told_again(known[names[0]], base64.b64decode(asked.again))
            print(wrong or f"read or refused, in {took} ms")  # noqa: T201  # an answer
            return 1 if wrong else 0
        for fed in guided(names, known, asked.seconds, asked.corpus.resolve()):
            bad += len(fed.wrong)
            said = asdict(fed)
            del said["slowest"]
            print(json.dumps(said), flush=True)  # noqa: T201  # an answer
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
