"""An S3 server on the loopback interface: moto's, in front of which requests can be refused or broken off."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

BUCKET = "bucket"


class S3Server:
    """The server, and how it misbehaves."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.refuse: Callable[[str, str], int | None] = lambda method, path: None
        """(method, path) -> the status of a refusal, None to answer."""
        self.n_refused = 0
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def refuse_share(self, share: int, status: int = 503) -> None:
        """Refuse one of `share` requests for objects, in turn."""
        lock, count = threading.Lock(), [0]

        def refuse(method: str, path: str) -> int | None:
            with lock:
                count[0] += 1
                return status if count[0] % share == 0 else None

        self.refuse = refuse

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        status = self.refuse(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if status is None:
            return self._app(environ, start)
        self.n_refused += 1
        # A refusal without reading the request would break the connection instead.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
        start(f"{status} Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


@contextmanager
def served() -> Iterator[S3Server]:
    """Serve an empty bucket, with the environment set so that this process and its children find it."""
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3Server()
    saved = dict(os.environ)
    os.environ.update(server.environment())
    os.environ.pop("AWS_PROFILE", None)
    try:
        import boto3

        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield server
    finally:
        os.environ.clear()
        os.environ.update(saved)
        server.close()
