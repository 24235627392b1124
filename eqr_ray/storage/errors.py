"""What a storage says went wrong, in short."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, for use within a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
