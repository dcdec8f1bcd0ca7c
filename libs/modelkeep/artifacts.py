"""Model files that are addressed by their digest, and never unpickled.

An artifact is one ONNX graph: numbers and operators from a fixed set, no code. It is
read once, its SHA-256 checked, and what was checked is what is run. Needs the packages
`onnx` and `onnxruntime`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Final, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from modelkeep.errors import Corrupt, Invalid
from modelkeep.objects import Objects, hexadecimal

Numbers: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.str_]
Columns: TypeAlias = Mapping[str, Numbers | Words]
"""One array a feature, all of one length: float64 (NaN is missing) or strings."""

Rerun: TypeAlias = Literal["equal", "within tolerance", "different"]

TOLERANCE: Final = 1e-6
"""Trees add up in float32, so another machine may differ in the seventh digit. One
thread on one machine gives the same bits, whatever the size of the batch."""


MAX_GRAPH_BYTES: Final = 1 << 31
"""What protobuf reads in one piece."""

LANES: Final = 16
"""A multiple of what any processor computes at once."""


class Artifact:
    """A loaded model. `numbers` and `words` are the columns it must be given."""

    def __init__(self, digest: str, session: onnxruntime.InferenceSession) -> None:
        self.digest = digest
        self._session = session
        kinds = {i.name: i.type for i in session.get_inputs()}
        self.numbers = tuple(n for n, t in kinds.items() if t == "tensor(double)")
        self.words = tuple(n for n, t in kinds.items() if t == "tensor(string)")
        self.about: dict[str, str] = session.get_modelmeta().custom_metadata_map

    @property
    def features(self) -> tuple[str, ...]:
        return self.numbers + self.words

    def score(self, columns: Columns) -> Numbers:
        """Return one probability a row; other columns are ignored.

        Raises Invalid naming the column that is missing or of the wrong kind.
        """
        feed = {}
        for name in self.features:
            if name not in columns:
                raise Invalid.field(name, f"model {self.digest[:12]} needs it")
            kind = "f" if name in self.numbers else "U"
            if columns[name].dtype.kind != kind:
                raise Invalid.field(
                    name, f"is {columns[name].dtype}, not of kind {kind}"
                )
            feed[name] = columns[name]
        rows = len(feed[self.features[0]])
        if not rows:
            return np.zeros(0)
        # A row's last bit must not depend on whether it fell into a full vector or into
        # the rest, so there is no rest: the last row is repeated.
        whole = np.minimum(np.arange(-(-rows // LANES) * LANES), rows - 1)
        padded = {name: values[whole].reshape(-1, 1) for name, values in feed.items()}
        scores: Numbers = self._session.run(None, padded)[0][:rows, 0]
        return scores


def digest_of(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()


def save(graph: bytes, objects: Objects) -> str:
    """Store an ONNX graph under its SHA-256 and return that, in hex. Idempotent."""
    return hexadecimal(objects.put(BytesIO(graph)).digest)


def load(objects: Objects, digest: str) -> Artifact:
    """Open a stored artifact. Raises as `opened` does, NotFound, Unavailable, and
    Invalid for one that is too large to be run here.
    """
    with objects.open(digest) as content:
        graph = content.read(MAX_GRAPH_BYTES + 1)
    if len(graph) > MAX_GRAPH_BYTES:
        raise Invalid.field("artifact", f"it is of more than {MAX_GRAPH_BYTES} bytes")
    return opened(graph, hexadecimal(digest))


def opened(graph: bytes, digest: str, *, name: str = "artifact") -> Artifact:
    """Open a graph if it is the one meant.

    Raises Corrupt when its bytes have another SHA-256, and Invalid when the graph would
    read other files (ONNX allows tensors that point outside).
    """
    found = digest_of(graph)
    if found != digest:
        message = f"{name} has sha256 {found}, not {digest}"
        raise Corrupt(message)
    if any(t.external_data or t.data_location for t in _tensors(graph)):
        raise Invalid.field("artifact", f"{name} points to data outside itself")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = (
        1  # the order of a sum must not depend on the machine
    )
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"]
    )
    return Artifact(digest, session)


def rerun(stored: float, again: float) -> Rerun:
    """Say how the score of a re-execution stands to the score in the decision log."""
    if stored == again:
        return "equal"
    return "within tolerance" if abs(stored - again) <= TOLERANCE else "different"


def one_row(columns: Columns, row: int) -> Columns:
    return {name: values[row : row + 1] for name, values in columns.items()}


def _tensors(graph: bytes) -> Iterator[onnx.TensorProto]:
    model = onnx.ModelProto.FromString(graph)
    waiting = [model.graph]
    while waiting:
        part = waiting.pop()
        yield from part.initializer
        for node in part.node:
            for attribute in node.attribute:
                yield attribute.t
                yield from attribute.tensors
                waiting += attribute.graphs
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
