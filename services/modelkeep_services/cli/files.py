"""A person's file, read as far as a reader of it would go."""

from __future__ import annotations

from pathlib import Path

from modelkeep.errors import Invalid


def text(field: str, file: Path, longest: int) -> str:
    """Return its text, or `longest` + 1 characters of it, which the reader of the text
    refuses. Raises Invalid, naming `field`, for what cannot be read.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(longest + 1)
    except OSError as wrong:
        raise Invalid.field(field, f"{file}: {wrong.strerror}") from None
    except UnicodeError:
        raise Invalid.field(field, f"{file} is not text in UTF-8") from None
