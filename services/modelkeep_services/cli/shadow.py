"""`modelkeep shadow`: a bundle beside the one in force, and what it would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from modelkeep.api.common.v1.common_pb2 import Page
from modelkeep.api.policy.v1 import policy_pb2 as pb
from modelkeep.api.policy.v1.policy_pb2_grpc import PolicyServiceStub
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import AUDITOR, Asking
from modelkeep_services.cli.connect import connected

SHOWN: Final = 20


@contextmanager
def _policy(
    home: Home, builds: Mapping[str, Build], store_url: str | None, role: str
) -> Iterator[tuple[Asking, PolicyServiceStub]]:
    needed = {name: builds[name] for name in ("policy", "audit")}
    with (
        screen.progress("reading the log") as tell,
        connected(home, needed, role, store_url=store_url, tell=tell) as there,
    ):
        yield Asking(there), there.stub("policy", PolicyServiceStub)


def change(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    bundle: str,
    name: str | None,
) -> None:
    """Set a bundle of that name beside, or clear the one that is (no name)."""
    request_id = str(uuid4())
    with _policy(home, builds, store_url, "policy_author") as (asking, policy):
        if name is None:
            clear = pb.ClearShadowRequest(request_id=request_id, bundle=bundle)
            asking(policy.ClearShadow, clear)
        else:
            beside = pb.SetShadowRequest(
                request_id=request_id, name=name, bundle=bundle
            )
            asking(policy.SetShadow, beside)
    said = "is asked no more" if name is None else "is asked beside the bundle in force"
    screen.line(f"{screen.short(bundle)} {said}")


def show(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    bundle: str,
    *,
    as_json: bool,
) -> None:
    with _policy(home, builds, store_url, AUDITOR) as (asking, policy):
        found = asking(policy.CompareShadow, pb.CompareShadowRequest(bundle=bundle))
        listed = asking(
            policy.ListShadowVerdicts,
            pb.ListShadowVerdictsRequest(
                bundle=bundle, differing=True, page=Page(size=SHOWN)
            ),
        )
    if as_json:
        screen.say_json(found)
        return
    one = found.shadow
    screen.line(f"{one.name} {one.version}, beside since {screen.instant(one.since)}")
    if one.HasField("cleared_at"):
        why = f": {one.cleared_because}" if one.cleared_because else ""
        screen.line(f"  cleared on {screen.instant(one.cleared_at)}{why}")
    screen.line(
        f"  {found.verdicts:,} verdicts, {found.flips:,} would be others,"
        f" {found.failed:,} failed"
    )
    rows: list[screen.Row] = [
        [
            str(cell.tier) if cell.HasField("tier") else "-",
            cell.action,
            _kind(cell.was),
            _kind(cell.now),
            f"{cell.verdicts:,}",
        ]
        for cell in found.cells
    ]
    if rows:
        screen.table(["tier", "action", "was", "would be", "verdicts"], rows)
    for verdict in listed.verdicts:
        why = verdict.failed or (verdict.reasons[0] if verdict.reasons else "")
        screen.line(
            f"  {verdict.model} {verdict.request}: {_kind(verdict.given)} →"
            f" {_kind(verdict.verdict)}: {why}"
        )


def _kind(kind: pb.VerdictKind.ValueType) -> str:
    found = pb.VerdictKind.Name(kind).removeprefix("VERDICT_KIND_").lower()
    return "failed" if found == "unspecified" else found
