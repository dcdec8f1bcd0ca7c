"""Ask the services of a home a question, and say what they refuse in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar

import grpc

from modelkeep import errors
from modelkeep.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from modelkeep.errors import ModelkeepError
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli.connect import TIMEOUT_S, Connected, connected
from modelkeep_services.cli.screen import progress, waiting

A = TypeVar("A")

AUDITOR: Final = "auditor"

KINDS: Final[Mapping[grpc.StatusCode, type[ModelkeepError]]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.Late,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DATA_LOSS: errors.Corrupt,
}


class Answered(ModelkeepError):
    """What a service said no with, in its own words."""


class Absent(Answered):
    """It has no such thing."""


@contextmanager
def audit(
    home: Home, builds: Mapping[str, Build], store_url: str | None = None
) -> Iterator[Asking]:
    """Reach the audit service of a home, as its auditor."""
    with (
        progress("reading the log") as tell,
        connected(
            home, {"audit": builds["audit"]}, AUDITOR, store_url=store_url, tell=tell
        ) as there,
    ):
        yield Asking(there)


class Asking:
    """Calls with a deadline and a credential. Raises ModelkeepErrors.

    `quiet` says that somebody else shows how far things are.
    """

    def __init__(self, there: Connected, *, quiet: bool = False) -> None:
        self.there, self._quiet = there, quiet

    @property
    def audit(self) -> AuditServiceStub:
        return self.there.stub("audit", AuditServiceStub)

    def __call__(self, method: Callable[..., A], request: object) -> A:
        try:
            with nullcontext() if self._quiet else waiting():
                return method(request, timeout=TIMEOUT_S, metadata=self.there.metadata)
        except grpc.RpcError as error:
            raise refusal(error) from None


def refusal(error: grpc.RpcError) -> ModelkeepError:
    """Turn what came over the wire back into an error of ours."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return errors.Unavailable(str(error))
    said = error.details() or error.code().name
    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        field, _, wrong = said.partition(": ")
        return errors.Invalid.field(field, wrong)
    if error.code() is grpc.StatusCode.NOT_FOUND:
        return Absent(said)
    return KINDS.get(error.code(), Answered)(said)
