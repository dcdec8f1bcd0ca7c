"""Each test of the contract runs once an engine, on a log of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.contract.engines import ENGINES, Engine

from modelkeep.store import open_store
from modelkeep.store.port import Store


@pytest.fixture(scope="session", params=ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    if engine.skip:
        pytest.skip(engine.skip)
    return engine


@pytest.fixture
def url(engine: Engine, tmp_path: Path) -> Iterator[str]:
    with engine.serve(tmp_path) as url:
        yield url


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Store]]:
    """Open the same log once more; all are closed at the end."""
    with ExitStack() as stores:
        yield lambda: stores.enter_context(open_store(url))


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()
