"""Bad input gets a precise error and changes nothing: every RPC of every service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from tests.integration.bad_inputs.cases import Bad, Good, bad_ones
from tests.integration.conftest import TIMEOUT_S, Served

HERE = Path(__file__).parent / "bad_inputs"
MODULES: list[ModuleType] = [
    import_module(f"tests.integration.bad_inputs.{path.stem}")
    for path in sorted(HERE.glob("*.py"))
    if path.stem not in {"__init__", "cases"}
]
NAMES = [module.SERVICE for module in MODULES]
MIB = 1 << 20


def reach(served: Served, module: ModuleType, rpc: str, raw: bool = False) -> Any:  # noqa: FBT001, FBT002  # one flag
    """A method as a plain call: streams are given one message and read to the end."""
    method = module.DESCRIPTOR.methods_by_name[rpc]
    path = f"/{module.DESCRIPTOR.full_name}/{rpc}"
    serialize: Callable[[Any], bytes] = (
        (lambda given: given) if raw else lambda given: given.SerializeToString()
    )
    answers = GetMessageClass(method.output_type).FromString
    channel = served.channel
    if method.client_streaming:
        stream = channel.stream_stream(path, serialize, answers)
        return lambda given, **kept: list(stream(iter([given]), **kept))
    if method.server_streaming:
        watch = channel.unary_stream(path, serialize, answers)
        return lambda given, **kept: next(iter(watch(given, **kept)))
    return channel.unary_unary(path, serialize, answers)


def refusal(ask: Callable[[], object]) -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        ask()
    return refused.value


def named_fields(error: Any) -> list[str]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in Status.FromString(value).details:
                bad = BadRequest()
                if detail.Unpack(bad):
                    return [v.field for v in bad.field_violations]
    return []


@pytest.fixture(scope="module", params=MODULES, ids=NAMES)
def world(
    request: pytest.FixtureRequest, serve_once: Callable[..., Served]
) -> tuple[ModuleType, Served]:
    module = request.param
    served = serve_once(*module.NEEDS, scenario=getattr(module, "SCENARIO", False))
    module.prepare(served)
    served.settle()
    return module, served


def test_every_rpc_has_a_good_request(world: tuple[ModuleType, Served]) -> None:
    module, _ = world
    assert {good.rpc for good in module.GOOD} == set(module.DESCRIPTOR.methods_by_name)


def test_bad_input_is_refused_precisely_and_changes_nothing(
    world: tuple[ModuleType, Served],
) -> None:
    module, served = world
    cases = [bad for good in module.GOOD for bad in bad_ones(good)]
    cases += getattr(module, "MORE", ())
    wrong: list[str] = []
    for case in cases:
        wrong += [
            f"{case.rpc}, {case.what}: {why}" for why in tried(served, module, case)
        ]
    assert not wrong, "\n" + "\n".join(wrong)


def tried(served: Served, module: ModuleType, case: Bad) -> Iterator[str]:
    """Say what is wrong with how a bad request was answered."""
    head = served.store.head()
    request = with_request_id(case.request)
    metadata = served.metadata(*case.roles, subject=case.subject, tenant=case.tenant)
    try:
        reach(served, module, case.rpc)(request, timeout=TIMEOUT_S, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() not in case.codes:
            yield f"{error.code()}: {error.details()}"
        if case.field and not any(
            case.field in field.split(".") for field in named_fields(error)
        ):
            yield f"names {named_fields(error)}, not {case.field}"
    else:
        yield "was answered"
    if served.store.head() != head:
        yield "something was appended"


def with_request_id(request: Message) -> Message:
    """A copy: what is a good request for one world is one for the next."""
    copy = type(request)()
    copy.CopyFrom(request)
    if "request_id" in copy.DESCRIPTOR.fields_by_name:
        given = getattr(copy, "request_id")  # noqa: B009  # a message has what its descriptor says
        if not given:
            setattr(copy, "request_id", "0192f0c1-2b3c-7d4e-8f5a-6b7c8d9e0f1a")  # noqa: B010  # the same
    return copy


def test_garbled_bytes_are_invalid(world: tuple[ModuleType, Served]) -> None:
    module, served = world
    for good in module.GOOD:
        ask = partial(reach(served, module, good.rpc, raw=True), b"\x0a\xff\xff\x0f")
        metadata = served.metadata(*good.roles, subject=good.subject)
        error = refusal(partial(ask, timeout=TIMEOUT_S, metadata=metadata))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, good.rpc


def test_an_oversize_message_is_refused(world: tuple[ModuleType, Served]) -> None:
    module, served = world
    head = served.store.head()
    oversize = b"\x0a" + b"x" * (MIB + 1024)

    def code(good: Good) -> grpc.StatusCode:
        ask = partial(reach(served, module, good.rpc, raw=True), oversize)
        metadata = served.metadata(*good.roles, subject=good.subject)
        found: grpc.StatusCode = refusal(
            partial(ask, timeout=TIMEOUT_S, metadata=metadata)
        ).code()
        return found

    # Together: each waits a tenth of a second for what the server does not read.
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(code, module.GOOD))
    told = [(good.rpc, one) for good, one in zip(module.GOOD, codes, strict=True)]
    assert {one for _, one in told} == {grpc.StatusCode.RESOURCE_EXHAUSTED}, told
    assert served.store.head() == head


def test_nobody_and_the_wrong_role_are_turned_away(
    world: tuple[ModuleType, Served],
) -> None:
    module, served = world
    powerless = served.metadata(subject="powerless")
    for good in module.GOOD:
        request = with_request_id(good.request)
        ask = partial(reach(served, module, good.rpc), request, timeout=TIMEOUT_S)
        assert refusal(ask).code() is grpc.StatusCode.UNAUTHENTICATED, good.rpc
        error = refusal(partial(ask, metadata=powerless))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED, good.rpc


def test_a_good_request_is_good(world: tuple[ModuleType, Served]) -> None:
    """Otherwise the refusals above would prove nothing. Last: it changes the world."""
    module, served = world
    for good in module.GOOD:
        assert answered(served, module, good)


def answered(served: Served, module: ModuleType, good: Good) -> bool:
    fresh = type(good.request)()
    fresh.CopyFrom(good.request)
    if "request_id" in fresh.DESCRIPTOR.fields_by_name:
        setattr(fresh, "request_id", "")  # noqa: B010  # a message has what its descriptor says
    return (
        served.call(
            reach(served, module, good.rpc), fresh, *good.roles, subject=good.subject
        )
        is not None
    )
