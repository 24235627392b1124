"""Tries again what a remote storage refused for a moment, and counts it.

Invariants, asserted in tests/storage/test_retrying.py: what cannot succeed (no such bucket, no permission) is not tried again; every
other try is counted and logged; the waits double up to a bound and are never the same for two clients.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from eqr_ray.storage.errors import first_line

log = logging.getLogger(__name__)
T = TypeVar("T")

TRIES = 8
"""With the waits below about a minute in all: longer than S3's usual throttling, shorter than a user's patience."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 20.0
PERMANENT = (
    "access_denied", "access denied", "accessdenied", "forbidden", "no_such_bucket", "nosuchbucket", "no such bucket",
    "invalid_access_key_id", "invalidaccesskeyid", "signature_does_not_match", "signaturedoesnotmatch", "expired_token", "expiredtoken",
    "invalidbucketname", "unable to locate credentials", "not implemented", "http status 400", "http status 401", "http status 403",
    "http status 404", "http status 409", "http status 412", "bucket does not exist", "permanentredirect",
)  # fmt: skip
"""What an error says that no further try can mend, in the words of pyarrow, of botocore or of S3."""


class RetryCount:
    """How often this process tried again, and why."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0
        self.reasons: Counter[str] = Counter()

    def note(self, reason: str) -> None:
        """Count one more."""
        with self._lock:
            self.total += 1
            self.reasons[reason[:80]] += 1


RETRIES = RetryCount()
"""Of this process."""


def is_passing(error: Exception) -> bool:
    """Tell an error that another try may not meet from one that will stay."""
    if isinstance(
        error, FileNotFoundError | FileExistsError | PermissionError | IsADirectoryError | NotADirectoryError
    ):
        return False
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status in (408, 429)
    text = str(error).lower()
    return not any(word in text for word in PERMANENT)


def retried(what: str, action: Callable[[], T], kinds: tuple[type[Exception], ...] = (OSError,)) -> T:
    """Return what `action` returns; tries again, after a growing wait, for errors of these kinds that may pass.

    what: the file or object and what is done with it, for the log.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return action()
        except kinds as error:
            if attempt == TRIES or not is_passing(error):
                raise
            wait = min(FIRST_WAIT_S * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
            RETRIES.note(first_line(error))
            log.warning(
                "%s failed (%s); try %d of %d in %.1f s", what, first_line(error)[:200], attempt + 1, TRIES, wait
            )
            time.sleep(wait)
    raise AssertionError("unreachable")
