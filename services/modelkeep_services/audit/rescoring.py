"""Run the archived artifact on the archived row, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from types import ModuleType
from typing import Final, Protocol

import numpy as np

from modelkeep.api.audit.v1 import audit_pb2 as pb
from modelkeep.decisions.rows import Cell
from modelkeep.errors import ModelkeepError, NotFound
from modelkeep.objects import Objects
from modelkeep_services.audit.decision_log import Logged

ONNX: Final = "onnx"
RESULTS: Final = {
    "equal": pb.RESCORE_RESULT_EQUAL,
    "within tolerance": pb.RESCORE_RESULT_WITHIN_TOLERANCE,
    "different": pb.RESCORE_RESULT_DIFFERENT,
}


class Stored(Protocol):
    """An artifact as the inventory names it."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def media_type(self) -> str: ...


def rescore(
    objects: Objects, artifacts: Sequence[Stored], logged: Logged
) -> pb.Rescore:
    """Say how the score comes out today, or why it cannot."""
    score = logged.row.score
    if not logged.intact:
        return _not(score, "the row is not the one that was recorded")
    graph = next((one for one in artifacts if _is_graph(one)), None)
    if graph is None:
        return _not(score, "the version has no artifact in a format that is run here")
    try:
        from modelkeep import artifacts as runner  # noqa: PLC0415, an extra
    except ImportError as error:
        return _not(score, f"{error.name} is not installed here", graph.digest)
    try:
        return _run(runner, objects, graph.digest, logged)
    except NotFound:
        return _not(score, "the artifact is not in the archive", graph.digest)
    except (ModelkeepError, OSError, RuntimeError) as error:
        return _not(score, str(error), graph.digest)


def _is_graph(artifact: Stored) -> bool:
    return ONNX in artifact.media_type or artifact.name.endswith(f".{ONNX}")


def _run(
    runner: ModuleType, objects: Objects, digest: str, logged: Logged
) -> pb.Rescore:
    model = runner.load(objects, digest)
    named = [name for name, _ in logged.schema.columns]
    row: Mapping[str, Cell] = dict(zip(named, logged.row.values, strict=True))
    given = {name: np.array([_number(row.get(name))]) for name in model.numbers}
    given |= {name: np.array([_word(row.get(name))]) for name in model.words}
    missing = [name for name in model.features if name not in row]
    if missing:
        return _not(logged.row.score, f"the row lacks {', '.join(missing)}", digest)
    again = float(model.score(given)[0])
    return pb.Rescore(
        result=RESULTS[runner.rerun(logged.row.score, again)],
        logged=logged.row.score,
        again=again,
        tolerance=runner.TOLERANCE,
        artifact=digest,
    )


def _number(cell: Cell) -> float:
    return nan if cell is None or isinstance(cell, str) else float(cell)


def _word(cell: Cell) -> str:
    return "" if cell is None else str(cell)


def _not(score: float, reason: str, digest: str = "") -> pb.Rescore:
    return pb.Rescore(
        result=pb.RESCORE_RESULT_NOT_REEXECUTABLE,
        logged=score,
        artifact=digest,
        reason=reason,
    )
