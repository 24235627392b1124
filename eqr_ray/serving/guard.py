"""Who may ask, and how often: bearer tokens, host names and a token bucket a client; time comes in as `now`.

Invariants, asserted in tests/serving/test_serving_parts.py: tokens are held as digests only and compared in constant time; without tokens
nobody but this machine is answered, and not under a foreign host name; a client that waits as long as it was told is let in; memory
is bounded.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eqr_ray.serving.settings import ServeConfig, is_loopback
from eqr_ray.types import InputError

TOKENS_VARIABLE = "EQR_SERVE_TOKENS"
SHORTEST_TOKEN = 16
"""Characters of the shortest token taken: 16 random ones cannot be guessed over a network."""
MOST_CLIENTS = 10_000
"""Clients whose rate is remembered; the one not seen longest is forgotten, which can only be to its advantage."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may ask."""

    key: str
    """What the rate is counted by: a short digest of the token, or the address."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


def digest(token: str) -> str:
    """Return the digest under which a token is held."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_tokens(config: ServeConfig) -> tuple[str, ...]:
    """Return the digests of the tokens of the file and of the environment.

    Raises InputError for a short token, an unreadable file, and for an endpoint that listens beyond this machine without any.
    """
    tokens: list[tuple[str, str]] = []
    if config.token_file is not None:
        try:
            lines = Path(config.token_file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"token_file {config.token_file} cannot be read ({error}); give a text file with one token a line"
            ) from None
        tokens += [(line.strip(), f"{config.token_file}, line {n}") for n, line in enumerate(lines, start=1)]
        if not any(token for token, _ in tokens):
            raise InputError(f"token_file {config.token_file} must hold at least one token, got none; write one a line")
    tokens += [(token.strip(), TOKENS_VARIABLE) for token in os.environ.get(TOKENS_VARIABLE, "").split(",")]
    for token, place in tokens:
        if token and len(token) < SHORTEST_TOKEN:
            raise InputError(
                f"{place}: a token has at least {SHORTEST_TOKEN} characters, got {len(token)}; make one with "
                "`python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )
    digests = tuple(sorted({digest(token) for token, _ in tokens if token}))
    if not digests and not is_loopback(config.host):
        raise InputError(
            f"an endpoint that listens beyond this machine needs a token, got host={config.host} and none; set "
            f"{TOKENS_VARIABLE} or token_file, or listen on 127.0.0.1"
        )
    return digests


class Guard:
    """Tells callers from strangers."""

    def __init__(self, digests: Iterable[str], allowed_hosts: Iterable[str] = ()) -> None:
        self._digests = tuple(digests)
        self._hosts = frozenset(allowed_hosts)

    @property
    def needs_token(self) -> bool:
        """Whether a request must carry a token."""
        return bool(self._digests)

    def host_allowed(self, host_header: str | None) -> bool:
        """Whether a request under this Host header is answered.

        Without tokens only this machine's own names are, so that a web page elsewhere cannot reach the endpoint through a name that
        it lets point here.
        """
        if self.needs_token and not self._hosts:
            return True
        name = (host_header or "").rsplit(":", 1)[0] if not (host_header or "").endswith("]") else host_header or ""
        return name in self._hosts or is_loopback(name)

    def identify(self, authorization: str | None, client_host: str | None) -> Caller | Refusal:
        """Return who asks, or why it is not answered."""
        address = client_host or "unknown"
        if not self.needs_token:
            if client_host is None or is_loopback(client_host):
                return Caller(address)
            return Refusal(
                403, "forbidden", "this endpoint has no tokens and so answers this machine only; give it a token"
            )
        scheme, _, token = (authorization or "").partition(" ")
        given = digest(token.strip())
        known = [hmac.compare_digest(given, held) for held in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            return Refusal(
                401, "unauthorized", "a request needs the header `Authorization: Bearer TOKEN` with a known token"
            )
        return Caller(given[:12])


class Rates:
    """A token bucket for each client: `burst` at once, `per_s` in the long run."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """client -> (what is left, when that was)"""

    def take(self, client: str, n_puzzles: int, now: float) -> float | None:
        """Take so many from the client's bucket and return None, or return the seconds after which they would be there.

        More than a burst at once is asked of a full bucket and leaves it empty.
        """
        left, then = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - then) * self._per_s)
        wanted = min(float(n_puzzles), self._burst)
        enough = left >= wanted - 1e-9
        self._buckets[client] = (left - wanted if enough else left, now)
        while len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return None if enough else (wanted - left) / self._per_s
