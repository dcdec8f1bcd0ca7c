"""A finding: one thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Verdict: TypeAlias = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """`check` is a stable dotted name; `todo` is empty where nothing is to be done."""

    check: str
    verdict: Verdict
    said: str
    todo: str = ""


def ok(check: str, said: str) -> Finding:
    return Finding(check, "ok", said)


def warn(check: str, said: str, todo: str) -> Finding:
    return Finding(check, "warn", said, todo)


def fail(check: str, said: str, todo: str) -> Finding:
    return Finding(check, "fail", said, todo)
