"""A server in a process of its own, to be attacked, and how much memory it takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import grpc

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.home import Home
from modelkeep.identity import LocalIssuer
from modelkeep.running import address_of

MIB: Final = 1 << 20
START_S: Final = 60.0
CALL_S: Final = 20.0
SERVICE: Final = "/modelkeep.api.inventory.v1.InventoryService"


@dataclass
class Besieged:
    """`grown` says how far the server's memory has risen since `relax`, in bytes;
    `alive` is the position of a model that is there.
    """

    process: subprocess.Popen[bytes]
    address: str
    metadata: tuple[tuple[str, str], ...]
    before: int = 0
    alive: int = 0

    @property
    def host(self) -> tuple[str, int]:
        name, _, port = self.address.rpartition(":")
        return name, int(port)

    def relax(self) -> None:
        """Begin to measure: the kernel forgets the highest mark so far."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.before = self._memory("VmRSS")

    def grown(self) -> int:
        return self._memory("VmHWM") - self.before

    def _memory(self, which: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(which):
                return int(line.split()[1]) * 1024
        raise AssertionError(which)

    def register(self, model: str) -> inv.RegisterModelRequest:
        return inv.RegisterModelRequest(
            request_id=str(uuid4()),
            model=model,
            title="Under siege",
            kind=inv.MODEL_KIND_TRAINED,
            purpose="to be counted",
            owner="ona",
            business_line="lending",
            approved_uses=["counting"],
        )

    def get(self, channel: grpc.Channel) -> None:
        """A live client's call: it must be answered."""
        InventoryServiceStub(channel).GetModel(
            inv.GetModelRequest(model="alive", not_before=self.alive),
            timeout=CALL_S,
            metadata=self.metadata,
        )


@contextmanager
def besieged(home: Home) -> Iterator[Besieged]:
    """`modelkeep serve inventory`, with a model that is there to be asked for."""
    command = [sys.executable, "-m", "modelkeep_services", "serve", "inventory"]
    command += ["--home", str(home.make().root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S
            while (address := address_of(home, "inventory")) is None:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            token = LocalIssuer.open(home.keys).issue("ona", frozenset({"owner"}))
            metadata = (("authorization", f"Bearer {token}"),)
            there = Besieged(process, address, metadata)
            with grpc.insecure_channel(address) as channel:
                stub = InventoryServiceStub(channel)
                # Not the first: `not_before` says nothing of position 0.
                for model in ("dead", "alive"):
                    answer = stub.RegisterModel(
                        there.register(model), timeout=CALL_S, metadata=metadata
                    )
                there.alive = answer.written.position
                there.get(channel)  # its views are there
            yield there
            assert process.poll() is None
        finally:
            process.kill()
