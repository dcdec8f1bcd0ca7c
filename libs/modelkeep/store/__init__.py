"""Where events are kept: one port, and the engines that honour it."""

from __future__ import annotations

from modelkeep.errors import Invalid
from modelkeep.store.port import Store


def open_store(url: str) -> Store:
    """Open the store that `url` names; its engine is imported only now.

    `sqlite:PATH`, or a bare path, is a file here, created when absent; `esdb:` and
    `kurrentdb:`, with or without `+discover`, are KurrentDB's own connection strings.
    """
    scheme, colon, rest = url.partition(":")
    if scheme.partition("+")[0] in {"esdb", "kurrentdb"}:
        from modelkeep.store.kurrent import KurrentStore  # noqa: PLC0415, an extra

        return KurrentStore(url)
    if colon and scheme != "sqlite":
        raise Invalid.field("store", f"{scheme}: is no kind of store")
    path = rest.removeprefix("//") if colon else url
    if not path:
        raise Invalid.field("store", f"{url!r} names no file")
    from modelkeep.store.sqlite import SqliteStore  # noqa: PLC0415, needs apsw

    return SqliteStore(path)
