"""What S3 can do and pyarrow's file system cannot: conditional writes, the age of an object by S3's own clock, links.

Invariants, asserted in tests/storage: a write of which nobody knows whether it arrived is looked up before it is called lost to
another; all tries but the first are counted in `RETRIES`, boto3 makes none of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from eqr_ray.storage.errors import first_line
from eqr_ray.storage.retrying import retried
from eqr_ray.types import StorageError

T = TypeVar("T")
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
MISSING = ("NoSuchKey", "404", "NotFound")


@dataclass(frozen=True, slots=True)
class Found:
    """An object."""

    content: bytes
    etag: str
    age_s: float


class Objects:
    """The objects below one prefix of a bucket."""

    def __init__(self, bare: str, options: str) -> None:
        """bare: `s3://bucket/prefix`; options: of the URI, as pyarrow reads them: region, scheme, endpoint_override."""
        self._bare = bare
        self._bucket, _, prefix = bare.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._options = dict(parse_qsl(options.removeprefix("?")))

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        endpoint = self._options.get("endpoint_override")
        if endpoint and "://" not in endpoint:
            endpoint = f"{self._options.get('scheme', 'https')}://{endpoint}"
        region = self._options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60),
        )

    def put(self, name: str, content: bytes) -> None:
        """Write an object over what may be there."""
        self._ask("written", name, lambda: self._put(name, content))

    def create(self, name: str, content: bytes) -> str | None:
        """Write an object that is not there and return its ETag; None where it is."""
        return self._conditional(name, content, IfNoneMatch="*")

    def replace(self, name: str, content: bytes, etag: str) -> str | None:
        """Write an object over the version with this ETag and return the new one; None where it is another by now."""
        return self._conditional(name, content, IfMatch=etag)

    def get(self, name: str) -> Found | None:
        """Return an object, None where there is none."""

        def whole() -> Found:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            age_s = max(0.0, (now - answer["LastModified"]).total_seconds())
            return Found(answer["Body"].read(), answer["ETag"], age_s)

        try:
            return self._ask("read", name, whole)
        except _Missing:
            return None

    def delete(self, name: str) -> None:
        """Remove an object if it is there."""
        self._ask("removed", name, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name))

    def link(self, name: str, seconds: int) -> str:
        """Return a signed address of an object; nothing is sent."""
        return str(
            self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": self._prefix + name}, ExpiresIn=seconds
            )
        )

    def _conditional(self, name: str, content: bytes, **condition: str) -> str | None:
        tries = 0

        def put() -> str:
            nonlocal tries
            tries += 1
            return self._put(name, content, **condition)

        try:
            return self._ask("written", name, put)
        except _Missing:
            return None
        except _Taken:
            # After a try that ended in silence, the writer that was there first may have been this one.
            now = self.get(name) if tries > 1 else None
            return now.etag if now is not None and now.content == content else None

    def _put(self, name: str, content: bytes, **condition: str) -> str:
        answer = self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=content, **condition)
        return str(answer["ETag"])

    def _ask(self, done: str, name: str, action: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return retried(f"{self._bare}/{name}", action, (BotoCoreError, ClientError))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in TAKEN:
                raise _Taken(name) from None
            if code in MISSING:
                raise _Missing(name) from None
            problem: Exception = error
        except BotoCoreError as error:
            problem = error
        raise StorageError(
            f"{self._bare}/{name} cannot be {done} ({first_line(problem)}); check the address, its permissions and the network"
        ) from None


class _Taken(Exception):
    """The condition of a write did not hold."""


class _Missing(Exception):
    """There is no such object."""
