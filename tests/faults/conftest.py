"""One server for all that attack one: starting it costs more than most attacks do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.faults.besieged import Besieged, besieged

from modelkeep.home import Home


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("besieged") / "home")


@pytest.fixture(scope="session")
def server(home: Home) -> Iterator[Besieged]:
    with besieged(home) as there:
        yield there
