"""A double of KurrentDB's Streams protocol, for where no server can run.

It tests our side, not KurrentDB: what it answers is what we understood from the
server's source and the client's tests. `make test-kurrentdb URI=…` asks a real server.
"""

from tests.doubles.kurrentdb.server import Double

__all__ = ["Double"]
