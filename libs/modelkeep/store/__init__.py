"""Where events are kept: one port, and the engines that honour it."""

from __future__ import annotations

from modelkeep.errors import Invalid, Unavailable
from modelkeep.store.port import Store


def open_store(url: str, *, origin: str | None = None) -> Store:
    """Open the store that `url` names; its engine is imported only now.

    `sqlite:PATH`, or a bare path, is a file here, created when absent; `esdb:` and
    `kurrentdb:`, with or without `+discover`, are KurrentDB's own connection strings;
    `postgresql:` is libpq's. `origin` names a ledger that is made now, where the engine
    keeps such a name; Invalid when there is one of another name.
    """
    scheme, colon, rest = url.partition(":")
    if scheme.partition("+")[0] in {"esdb", "kurrentdb"}:
        from modelkeep.store.kurrent import KurrentStore  # noqa: PLC0415, an extra

        return KurrentStore(url)
    if scheme in {"postgresql", "postgres"}:
        return _postgres(url, origin)
    if colon and scheme != "sqlite":
        raise Invalid.field("store", f"{scheme}: is no kind of store")
    path = rest.removeprefix("//") if colon else url
    if not path:
        raise Invalid.field("store", f"{url!r} names no file")
    from modelkeep.store.sqlite import SqliteStore  # noqa: PLC0415, needs apsw

    return SqliteStore(path, origin=origin)


def shown(url: str) -> str:
    """Return what may be shown of a URL: all but a password."""
    scheme, slashes, rest = url.partition("://")
    where, at, place = rest.rpartition("@")
    if not (slashes and at):
        return url
    return f"{scheme}://{where.partition(':')[0]}@{place}"


def _postgres(url: str, origin: str | None) -> Store:
    try:
        from modelkeep.store.postgres import PostgresStore  # noqa: PLC0415, an extra
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("modelkeep"):
            raise
        raise Unavailable(
            f"the PostgreSQL engine needs {missing.name}: pip install"
            " 'modelkeep[postgres]'"
        ) from missing
    return PostgresStore(url, origin=origin)
