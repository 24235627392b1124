"""Ray's job server: submit a command, follow its log, learn how it ended.

Invariants, asserted in tests/ray_local/test_submit.py: the same work submitted twice is one job while it runs and after it succeeded, and
another try after it failed or was stopped; the log is written once, however often its connection breaks; a refused or missing token is one
sentence.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from eqr_ray.types import InputError

log = logging.getLogger(__name__)

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
DEFAULT_ADDRESS = "http://127.0.0.1:8265"
POLL_S = 1.0
PATIENCE_S = 90.0
"""How long a server may break connections or say that it is not ready: as long as a head takes to come up."""
PASSING = ("try again later", "status code 502", "status code 503", "status code 504")
MOST_TRIES = 1000


class Standing(StrEnum):
    """Whether this submission began something."""

    NEW = "submitted"
    RUNNING = "running already"
    DONE = "done already"


@dataclass(frozen=True, slots=True)
class Work:
    """What a job is to do."""

    name: str
    """The id of its first try; the second has `-2` after it."""
    command: Callable[[int], str]
    """The try, counted from 1, -> the entry point."""
    env: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    """A folder to upload and to run in; None for the package that the cluster has."""
    cpus: float | None = None
    gpus: float | None = None
    """Of the machine that the entry point itself runs on."""


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands."""

    submission_id: str
    status: str
    message: str
    exit_code: int | None
    ended: bool
    entrypoint: str
    metadata: Mapping[str, str]

    @property
    def code(self) -> int:
        """The exit code to pass on: the job's own; 1 for one that was stopped or could not be started."""
        if self.status == "SUCCEEDED":
            return 0
        return self.exit_code if self.exit_code is not None and self.exit_code > 0 else 1


class JobServer:
    """The job server of a cluster."""

    def __init__(self, address: str | None = None) -> None:
        """address: of the dashboard, such as http://127.0.0.1:8265; left out, what Ray's variables say. Raises InputError."""
        given = address or next((os.environ[name] for name in ADDRESSES if os.environ.get(name)), DEFAULT_ADDRESS)
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        # Ray prefers its variables to what it is told.
        hidden = {name: os.environ.pop(name) for name in ADDRESSES if name in os.environ}
        self.address = given
        try:
            self._client = JobSubmissionClient(given)
        except AuthenticationError as error:
            raise InputError(f"{given}: {_token_problem(error)}") from None
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"{given}: no job server of Ray answers there ({' '.join(str(error).split())[:160]}); give the dashboard's "
                f"address with --address or in {ADDRESSES[0]}"
            ) from None
        finally:
            os.environ.update(hidden)

    def submit(self, work: Work) -> tuple[str, Standing]:
        """Submit work, unless a try of it runs or has succeeded; return the id of the job that does it."""
        for attempt in range(1, MOST_TRIES):
            name = work.name if attempt == 1 else f"{work.name}-{attempt}"
            before = self.find(name)
            if before is None:
                self._send(work, name, attempt)
                return name, Standing.NEW
            if not before.ended:
                return name, Standing.RUNNING
            if before.status == "SUCCEEDED":
                return name, Standing.DONE
        raise InputError(f"{work.name} was tried {MOST_TRIES} times; change its configuration")

    def _send(self, work: Work, name: str, attempt: int) -> None:
        environment: dict[str, Any] = {"env_vars": dict(work.env)}
        if work.working_dir is not None:
            environment["working_dir"] = work.working_dir
        try:
            self._ask(
                lambda: self._client.submit_job(
                    entrypoint=work.command(attempt),
                    submission_id=name,
                    runtime_env=environment,
                    metadata=dict(work.metadata),
                    entrypoint_num_cpus=work.cpus,
                    entrypoint_num_gpus=work.gpus,
                )
            )
        except RuntimeError:
            # A request whose answer was lost has begun the job, and the id is taken by it.
            if self.find(name) is None:
                raise

    def find(self, submission_id: str) -> JobState | None:
        """Return how a job stands, None where there is none of this id."""
        try:
            info = self._ask(lambda: self._client.get_job_info(submission_id))
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise
        return JobState(
            submission_id,
            info.status.value,
            info.message or "",
            info.driver_exit_code,
            info.status.is_terminal(),
            info.entrypoint,
            info.metadata or {},
        )

    def state(self, submission_id: str) -> JobState:
        """Return how a job stands; InputError where there is none of this id."""
        found = self.find(submission_id)
        if found is None:
            known = sorted(job.submission_id for job in self._ask(self._client.list_jobs) if job.submission_id)
            raise InputError(f"{self.address} knows no job {submission_id}; it knows {', '.join(known[-8:]) or 'none'}")
        return found

    def stop(self, submission_id: str) -> bool:
        """Ask a job to end; False where it had ended."""
        self.state(submission_id)
        return bool(self._ask(lambda: self._client.stop_job(submission_id)))

    def follow(self, submission_id: str, write: Callable[[str], None]) -> JobState:
        """Write the job's log as it comes, until the job has ended, and return how."""
        written = 0
        while True:
            try:
                written = asyncio.run(self._tail(submission_id, written, write))
            except (RuntimeError, OSError) as error:
                log.info("the log's connection broke (%s); connecting again", error)
            state = self.state(submission_id)
            if state.ended:
                return state
            time.sleep(POLL_S)

    async def _tail(self, submission_id: str, written: int, write: Callable[[str], None]) -> int:
        """Write what comes after the first `written` characters of the log; return how many there are."""
        seen = 0
        async for chunk in self._client.tail_job_logs(submission_id):
            fresh = chunk[max(written - seen, 0) :]
            seen += len(chunk)
            if fresh:
                write(fresh)
                written = max(written, seen)
        return written

    def _ask(self, action: Callable[[], Any]) -> Any:
        """Return what the server answers; a busy head drops connections, and one that comes up says to try later."""
        from ray.exceptions import AuthenticationError

        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                return action()
            except AuthenticationError as error:
                raise InputError(f"{self.address}: {_token_problem(error)}") from None
            except (OSError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not any(word in str(error) for word in PASSING):
                    raise
                reason = " ".join(str(error).split())[:160]
                if time.monotonic() > ends:
                    raise InputError(
                        f"{self.address}: the job server does not do it ({reason}); is the cluster up?"
                    ) from None
                log.info("the job server did not do it (%s); trying again", reason)
                time.sleep(POLL_S)


def _token_problem(error: Exception) -> str:
    text = str(error)
    wrong = "403" in text or "invalid" in text.lower()
    what = "the cluster refused the token" if wrong else "the cluster asks for a token, and none was given"
    return f"{what}; set RAY_AUTH_MODE=token and the cluster's token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
