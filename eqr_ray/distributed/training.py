"""Training by several workers: actors that each hold a part of the batch, joined by torch.distributed.

The driver reads data and settings, tells the workers how many steps to take, keeps the log and writes every save, so the folder of a run
lies on the driver's disk and looks as that of one process. Invariants, asserted in tests/ray_local/test_training_team.py: two workers take
the steps that one takes, up to rounding; a run goes on with another number of workers; when a worker is lost, all are started again
from the newest save.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eqr_ray.distributed.cluster import connect
from eqr_ray.types import InputError

log = logging.getLogger(__name__)

TICK_S = 0.2
"""Longest wait for the workers before signals and the clock are looked at again."""
LEG_S = 1.0
"""How long the workers step before the driver hears of them; a loss or a signal is acted on that late."""
REPORT_S = 30.0
"""How often a wait that brings nothing is logged."""
SILENCE_S = 900.0
"""How long workers may be silent, building and compiling included, before they are taken for lost."""
TRIES = 3
"""How often the workers are started before a run gives up."""


class TeamLost(RuntimeError):
    """A worker died or fell silent; the others cannot go on without it."""


@dataclass(frozen=True, slots=True)
class Staff:
    """Who trains."""

    workers: int
    address: str = "local"
    device: str = "cpu"
    threads: int = 1
    """CPU threads of each worker."""
    compiled: bool = False


def train_on_workers(
    config: str | Path | None, overrides: Sequence[str] = (), *, out: str | Path, staff: Staff,
    minutes: float | None = None, resume: bool = False,
) -> Path:  # fmt: skip
    """Train on Ray workers as a YAML file says and return the folder of the checkpoint; see `training.run.train_from_config`.

    Raises RuntimeError when workers were lost too often; what was saved can be resumed.
    """
    from eqr_ray.training.run import Plan

    plan = Plan.of(config, overrides, out=out, minutes=minutes, resume=resume)
    if plan.settings.batch % staff.workers:
        raise InputError(
            f"batch must be a multiple of the number of workers, got batch={plan.settings.batch} and {staff.workers} workers"
        )
    with connect(staff.address):
        for attempt in range(1, TRIES + 1):
            try:
                with hired(plan, staff) as team:
                    return plan.carry_out(team)
            except TeamLost as lost:
                if attempt == TRIES:
                    raise
                plan.go_back()
                at = plan.snapshot.steps_done if plan.snapshot else 0
                log.warning("%s; starting again from step %d, try %d of %d", lost, at, attempt + 1, TRIES)
    raise AssertionError("the loop returns or raises")


@contextlib.contextmanager
def hired(plan: Any, staff: Staff) -> Iterator[WorkerTeam]:
    """Start the workers of a plan and end them afterwards."""
    import ray

    gpu = staff.device.startswith("cuda")
    _check_room(staff, gpu)
    job = ray.put((plan.settings, plan.materials, plan.evaluation))
    kind = ray.remote(
        num_cpus=staff.threads, num_gpus=1 if gpu else 0, max_restarts=0, max_task_retries=0, max_concurrency=2
    )(Member)
    members = [kind.remote(rank, staff, job) for rank in range(staff.workers)]
    try:
        team = WorkerTeam(members, plan.settings.log_every)
        team.meet()
        yield team
    finally:
        for member in members:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(member)


def _check_room(staff: Staff, gpu: bool) -> None:
    import ray

    for name, needed in (("GPU", staff.workers if gpu else 0), ("CPU", staff.workers * staff.threads)):
        there = ray.cluster_resources().get(name, 0.0)
        if there < needed:
            raise InputError(
                f"{staff.workers} workers need {needed} {name}s and this Ray has {there:g}; give fewer --workers or --threads, "
                "or an --address with more"
            )


class WorkerTeam:
    """The driver's side: a `training.team.Team` of actors that do everything together."""

    def __init__(self, members: list[Any], log_every: int) -> None:
        self._members, self._log_every = members, log_every
        self._steps_done = 0
        self._pace_s = 0.0
        """Seconds a step, of the last leg; 0 before the first."""

    @property
    def steps_done(self) -> int:
        """Steps since the run began."""
        return self._steps_done

    def meet(self) -> None:
        """Join the workers and build their trainers."""
        (meeting,) = self._ask("meeting", members=self._members[:1])
        self._ask("join", meeting)

    def advance(self, n: int, over: Callable[[], bool]) -> dict[str, Any]:
        """Take up to n steps in legs of about a second."""
        seen: dict[str, Any] = {}
        ends = self._steps_done + n
        while self._steps_done < ends and not over():
            leg = min(ends - self._steps_done, max(1, int(LEG_S / self._pace_s)) if self._pace_s else 1)
            began = time.monotonic()
            seen = self._ask("advance", leg)[0]
            self._pace_s = (time.monotonic() - began) / leg
            self._steps_done += leg
        return seen

    def evaluate(self, stopped: Callable[[], bool]) -> Any:
        """Measure the averaged weights, each worker on its share of the puzzles."""
        from eqr_ray.training.accuracy import merged

        parts = self._ask("evaluate", stopped=stopped)
        return None if any(part is None for part in parts) else merged(parts)

    def snapshot(self) -> Any:
        """Return the state of the whole run."""
        return self._ask("snapshot")[0]

    def restore(self, snapshot: Any) -> None:
        """Bring every worker to a snapshot."""
        import ray

        self._ask("restore", ray.put(snapshot))
        self._steps_done = snapshot.steps_done

    def _ask(
        self, method: str, *given: Any, members: list[Any] | None = None, stopped: Callable[[], bool] | None = None
    ) -> list[Any]:
        """Call a method of every worker and return the answers in order; TeamLost when one does not answer."""
        import ray

        asked = members or self._members
        references = [getattr(member, method).remote(*given) for member in asked]
        waiting, began, told, halting = list(references), time.monotonic(), time.monotonic(), False
        try:
            while waiting:
                ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=TICK_S)
                ray.get(ready, timeout=60)  # raises what a worker raised, at once
                now = time.monotonic()
                if waiting and now - began > SILENCE_S:
                    raise TeamLost(
                        f"{len(waiting)} of {len(asked)} workers gave no answer to `{method}` in {SILENCE_S:.0f} s"
                    )
                if waiting and now - told > REPORT_S:
                    log.info("waiting for %d of %d workers to %s", len(waiting), len(asked), method)
                    told = now
                if stopped is not None and not halting and stopped():
                    halting = True
                    for member in asked:
                        member.halt.remote()
            return list(ray.get(references, timeout=60))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BaseException) else error
            if isinstance(cause, InputError):
                raise cause from None
            # The first to hear of a lost worker may be its neighbour, whose collective call fails.
            raise TeamLost(
                f"a worker failed to {method} ({type(cause).__name__}: {' '.join(str(cause).split())[:200]})"
            ) from error
        except ray.exceptions.RayError as error:
            raise TeamLost(f"a worker was lost ({type(error).__name__})") from error


class Member:
    """The actor: one worker."""

    def __init__(self, rank: int, staff: Staff, job: tuple[Any, Any, Any]) -> None:
        import torch

        torch.set_num_threads(staff.threads)
        self._rank, self._staff = rank, staff
        self._settings, self._materials, self._evaluation = job
        self._halting = threading.Event()
        self._team: Any = None

    def meeting(self) -> str:
        """Return where worker 0 is to be met."""
        import socket

        import ray

        host = ray.util.get_node_ip_address()
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    def join(self, meeting: str) -> None:
        """Meet the others and build this worker's trainer."""
        import torch

        from eqr_ray.engine.factory import pick_device
        from eqr_ray.training.loop import Trainer
        from eqr_ray.training.peers import TorchPeers
        from eqr_ray.training.team import Solo

        device = pick_device(self._staff.device)
        peers = TorchPeers(self._rank, self._staff.workers, meeting, torch.device(device))
        trainer = Trainer(self._settings, device, self._materials, peers, self._staff.compiled)
        share = (
            None if self._evaluation is None else self._evaluation.take(slice(self._rank, None, self._staff.workers))
        )
        self._team = Solo(trainer, share)

    def advance(self, n: int) -> dict[str, Any]:
        """Take n steps and return their means."""
        means: dict[str, Any] = self._team.advance(n, lambda: False)
        return means

    def evaluate(self) -> Any:
        """Measure this worker's share of the puzzles."""
        return self._team.evaluate(self._halting.is_set)

    def halt(self) -> None:
        """End an evaluation early."""
        self._halting.set()

    def snapshot(self) -> Any:
        """Return the state of the whole run, of worker 0."""
        from eqr_ray.training.state import take

        return take(self._team.trainer)

    def restore(self, snapshot: Any) -> None:
        """Go to a snapshot."""
        self._team.restore(snapshot)
