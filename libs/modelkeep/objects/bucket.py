"""Objects in a bucket of S3, or of anything that speaks its protocol, through pyarrow.

`s3://bucket/prefix?region=…&endpoint_override=…&scheme=…`; credentials come from where
AWS's own tools take them (environment, profile, role), and never from the address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, cast
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from pyarrow import fs

from modelkeep.errors import Invalid, NotFound, Unavailable
from modelkeep.objects.port import PIECE, Stored, hexadecimal, stream_digest

CONNECT_S: Final = 3.0
REQUEST_S: Final = 20.0
ATTEMPTS: Final = 2
OPTIONS: Final = frozenset({"region", "endpoint_override", "scheme"})


class Bucket:
    """`BUCKET/PREFIX/<64 hexadecimal digits>`."""

    def __init__(self, uri: str) -> None:
        """Raises Invalid for an address that is none, or holds credentials."""
        said = urlsplit(uri)
        if not said.netloc or "@" in said.netloc or ":" in said.netloc:
            raise Invalid.field("artifacts", "s3://bucket/prefix, without credentials")
        self._root = f"{said.netloc}{said.path}".rstrip("/")
        self._where = f"s3://{self._root}"
        self._files = fs.S3FileSystem(
            connect_timeout=CONNECT_S,
            request_timeout=REQUEST_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            **_options(said.query),
        )

    def put(self, content: BinaryIO) -> Stored:
        """An upload is not there before it is whole: it is hashed on its way to a name
        of its own, and then copied to its digest by the server.
        """
        made, size, fresh = hashlib.sha256(), 0, f"{self._root}/new.{uuid4()}"
        try:
            with self._files.open_output_stream(fresh) as there:
                while piece := content.read(PIECE):
                    there.write(piece)
                    made.update(piece)
                    size += len(piece)
            self._files.move(fresh, self._path(made.hexdigest()))
        except OSError as error:
            raise Unavailable(f"{self._where}: {error}") from None
        return Stored(f"sha256:{made.hexdigest()}", size)

    @contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        try:
            file = self._files.open_input_file(self._path(digest))
        except FileNotFoundError:
            raise NotFound("artifact", digest) from None
        except OSError as error:
            raise Unavailable(f"{self._where}: {error}") from None
        with file:
            yield cast("BinaryIO", file)

    def found(self, digest: str, *, within_s: float) -> str:
        with self.open(digest) as content:
            try:
                return stream_digest(content, within_s=within_s).digest
            except OSError as error:
                raise Unavailable(f"{self._where}: {error}") from None

    def _path(self, digest: str) -> str:
        return f"{self._root}/{hexadecimal(digest)}"


def _options(query: str) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    if strange := sorted(found.keys() - OPTIONS):
        raise Invalid.field("artifacts", f"there is no option {', '.join(strange)}")
    return found
