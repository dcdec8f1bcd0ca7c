"""`modelkeep artifact`: keep model files, look at them, and hold them to signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from modelkeep.api.inventory.v1 import inventory_pb2 as inv
from modelkeep.api.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from modelkeep.errors import Invalid
from modelkeep.formats import Described, Unreadable, describe
from modelkeep.home import Home
from modelkeep.node import Build
from modelkeep.objects import PIECE, artifacts_of, stream_digest
from modelkeep.proof import durable
from modelkeep.proof.errors import BadSignature, Malformed
from modelkeep.publishers import (
    MAX_SIGNATURE_BYTES,
    Publisher,
    read_publisher,
    verify,
)
from modelkeep_services.cli import screen
from modelkeep_services.cli.asking import Asking
from modelkeep_services.cli.connect import connected
from modelkeep_services.inventory.signatures import MAX_KEY_BYTES, SUFFIX, publishers

NAMED: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ENGINEER: Final = "engineer"
UNSIGNED: Final = frozenset({".git", ".github", ".gitattributes", ".gitignore"})
"""What the signing tool leaves out of every model's folder."""


def put(home: Home, files: Sequence[Path], *, as_json: bool) -> None:
    """Keep files under their digests, and say what they are."""
    objects, told = artifacts_of(home.make()), []
    for path in files:
        with _opened("file", path) as content:
            about = _described(content)
            content.seek(0)
            kept = objects.put(content)
        told.append(_told(path.name, kept.digest, kept.size, about))
    _show(told, as_json=as_json)


def show(home: Home, what: str, *, as_json: bool) -> None:
    """Say what a file, or what is kept under a digest, says of itself."""
    path = Path(what)
    if path.is_file():
        with _opened("file", path) as content:
            told = _looked_at(path.name, content)
    else:
        with artifacts_of(home).open(what) as content:
            told = _looked_at(what, content)
    _show([told], as_json=as_json)


def get(home: Home, digest: str, to: Path) -> None:
    """Copy what is kept to a new file, which is there only if its digest is right."""
    if to.exists():
        raise Invalid.field("out", f"{to} is there already")
    with artifacts_of(home).open(digest) as content:
        fresh = to.with_name(f".{to.name}.{uuid4().hex[:8]}")
        try:
            with fresh.open("xb") as file:
                while piece := content.read(PIECE):
                    file.write(piece)
            with fresh.open("rb") as file:
                found = stream_digest(file)
            if found.digest.removeprefix("sha256:") != digest.removeprefix("sha256:"):
                raise Invalid.field("digest", f"what is kept there is {found.digest}")
            fresh.replace(to)
        except OSError as error:
            raise Invalid.field("out", f"{to}: {error.strerror}") from None
        finally:
            fresh.unlink(missing_ok=True)
    screen.line(f"{found.size:,} bytes in {to}")


def check(home: Home, digests: Sequence[str], *, as_json: bool) -> int:
    """Hash what is kept again. Exit 1 where one is other bytes."""
    objects, rows = artifacts_of(home), []
    for one in digests:
        found = objects.found(one, within_s=float("inf"))
        plain = one.removeprefix("sha256:")
        said = "verified" if found == f"sha256:{plain}" else f"changed: it is {found}"
        rows.append({"digest": one, "found": found, "state": said.partition(":")[0]})
        if not as_json:
            screen.line(f"{one}  {said}")
    if as_json:
        screen.say_json({"artifacts": rows})
    return 0 if all(one["state"] == "verified" for one in rows) else 1


# --- signatures ----------------------------------------------------------------------


def trust(home: Home, name: str, key: Path) -> None:
    """From here on this publisher's signatures count."""
    if not NAMED.fullmatch(name):
        raise Invalid.field("name", f"{name[:80]!r}: small letters, digits, . _ and -")
    pem = _bytes("key", key, MAX_KEY_BYTES)
    publisher = _publisher(name, pem)
    home.make().publishers.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home.publishers / f"{name}{SUFFIX}"
    if path.exists() and path.read_bytes() != pem:
        raise Invalid.field("name", f"{name} has another key: remove {path} first")
    durable.replace(path, pem, mode=0o600)
    screen.line(f"{name} is trusted by the key sha256:{publisher.fingerprint}")


def verified(
    home: Home, folder: Path, signature: Path, key: Path | None, *, as_json: bool
) -> int:
    """Hold files on this machine to a signature. Exit 1 where they are others."""
    known = (
        [_publisher(key.stem, _bytes("key", key, MAX_KEY_BYTES))]
        if key is not None
        else list(publishers(home))
    )
    raw = _bytes("signature", signature, MAX_SIGNATURE_BYTES)
    try:
        signed = verify(raw, known)
    except Malformed as error:
        raise Invalid.field("signature", str(error)) from None
    except BadSignature as error:
        screen.line(screen.word("rejected"), f": {error}")
        return 1
    there = dict(_files(folder, signature))
    wanted = {one.name: one.digest for one in signed.files}
    wrong = [
        *(f"{name} is missing" for name in wanted if name not in there),
        *(f"{name} was not signed" for name in there if name not in wanted),
        *(f"{n} was changed" for n, d in there.items() if wanted.get(n, d) != d),
    ]
    said = {"publisher": signed.publisher.name, "files": len(wanted), "wrong": wrong}
    if as_json:
        screen.say_json(said)
    else:
        for one in wrong:
            screen.point("!", "red", one)
        whole = f"{len(wanted)} files, signed by {signed.publisher.name}: "
        screen.line(whole, screen.word("rejected" if wrong else "approved"))
    return 1 if wrong else 0


def attach(
    home: Home,
    builds: Mapping[str, Build],
    store_url: str | None,
    model: str,
    version: str,
    signature: Path,
) -> None:
    """Record a publisher's signature with the version whose artifacts it covers."""
    raw = _bytes("signature", signature, MAX_SIGNATURE_BYTES)
    needed = {"inventory": builds["inventory"]}
    with connected(home, needed, ENGINEER, store_url=store_url) as there:
        ask, stub = Asking(there), there.stub("inventory", InventoryServiceStub)
        found = ask(
            stub.GetVersion, inv.GetVersionRequest(model=model, version=version)
        )
        request = inv.AttachSignatureRequest(
            request_id=str(uuid4()),
            model=model,
            version=version,
            digest=found.version.digest,
            signature=raw,
        )
        position = ask(stub.AttachSignature, request).written.position
        again = inv.GetVersionRequest(model=model, version=version, not_before=position)
        signed = ask(stub.GetVersion, again).version.signatures[-1]
    others = f", and {signed.others} files beside" if signed.others else ""
    screen.line(f"{model} {version} is signed by {signed.publisher}{others}")


# --- files ---------------------------------------------------------------------------


@contextmanager
def _opened(field: str, path: Path) -> Iterator[BinaryIO]:
    try:
        content = path.open("rb")
    except OSError as error:
        raise Invalid.field(field, f"{path}: {error.strerror}") from None
    with content:
        yield content


def _bytes(field: str, path: Path, most: int) -> bytes:
    with _opened(field, path) as content:
        found = content.read(most + 1)
    if len(found) > most:
        raise Invalid.field(field, f"{path} is of more than {most} bytes")
    return found


def _publisher(name: str, pem: bytes) -> Publisher:
    try:
        return read_publisher(name, pem)
    except Malformed as error:
        raise Invalid.field("key", str(error)) from None


def _files(folder: Path, signature: Path) -> Iterator[tuple[str, str]]:
    """Each file by its path in `folder`, and its digest. A link is refused: what it
    leads to is not what was signed.
    """
    if not folder.is_dir():
        raise Invalid.field("folder", f"{folder} is no folder")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise Invalid.field("folder", f"{path} is a link")
        if not path.is_file() or path.resolve() == signature.resolve():
            continue
        inside = path.relative_to(folder)
        if inside.parts[0] in UNSIGNED:
            continue
        with _opened("folder", path) as content:
            yield inside.as_posix(), stream_digest(content).digest


def _looked_at(name: str, content: BinaryIO) -> dict[str, object]:
    about = _described(content)
    content.seek(0)
    digest, size = stream_digest(content)
    return _told(name, digest, size, about)


def _described(content: BinaryIO) -> Described:
    try:
        return describe(content)
    except Unreadable as error:
        return Described("unreadable", notes=(str(error),))


def _told(name: str, digest: str, size: int, about: Described) -> dict[str, object]:
    return {
        "name": name,
        "digest": digest,
        "size": size,
        "format": about.format,
        "tensors": about.tensors,
        "parameters": about.parameters,
        "carries_code": about.carries_code,
        "points_outside": about.points_outside,
        "says": dict(about.says),
        "notes": list(about.notes),
    }


def _show(told: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    if as_json:
        screen.say_json({"artifacts": list(told)})
        return
    for one in told:
        screen.heading(str(one["name"]))
        screen.fact("digest", str(one["digest"]))
        screen.fact("size", f"{one['size']:,} bytes")
        kind = str(one["format"])
        if one["parameters"] is not None:
            kind += f", {one['parameters']:,} numbers in {one['tensors']:,} tensors"
        screen.fact("format", kind)
        for note in _listed(one["notes"]):
            screen.point("!", "yellow", note)
        says = one["says"]
        for name, value in says.items() if isinstance(says, dict) else ():
            screen.fact("says", f"{name}: {value}")


def _listed(found: object) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list) else []
