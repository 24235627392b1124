"""The main job: puzzles in; verdicts, summary and report out.

Invariants, asserted in tests/ray_local/test_evaluate.py: nothing is written before the configuration, the weights and the first 100,000
puzzles were checked; verdicts are written before they are counted; a run that was stopped or killed goes on with `resume` and ends with the
verdicts of an undisturbed one, each once.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING

from eqr_ray.config import EvaluateConfig
from eqr_ray.coordinator import Coordinator
from eqr_ray.evaluation.report import write_report
from eqr_ray.evaluation.summary import RunFacts, Summary
from eqr_ray.policy import Policy, calibrated, policy_from, spec_of
from eqr_ray.puzzles.files import first_task, read_puzzles
from eqr_ray.puzzles.ids import PuzzleIds
from eqr_ray.puzzles.record import Record, Shard
from eqr_ray.puzzles.task import Task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.runs.folder import SUMMARY, Folder, Session
from eqr_ray.runs.progress import Progress, Standing
from eqr_ray.runs.recipe import Recipe, device_of, torch_recipe
from eqr_ray.runs.scribe import Finished, Scribe
from eqr_ray.runs.stopping import StopWish
from eqr_ray.runs.upkeep import Outlook, Upkeep
from eqr_ray.storage import RETRIES
from eqr_ray.types import Puzzle

if TYPE_CHECKING:
    from eqr_ray.distributed.cluster import Cluster
    from eqr_ray.distributed.driver import Driver, Staffing

log = logging.getLogger(__name__)

SURVEY_ROWS = 100_000
"""Puzzles that are read and checked before a run begins: seconds of work that save a user's night; more are checked on the way."""
COUNTED_ROWS = 50 * SURVEY_ROWS
"""Puzzles that are counted before a run that scales with what is left; of more it is only known that they are many."""
CPU_ROWS, GPU_ROWS = 256, 8192
"""Most rows of a slice: enough to hide a message behind the work of a small network on either."""
LEAST_OPEN, MOST_OPEN = 1024, 65_536
"""Bounds on the puzzles open at once: enough to fill every replica twice, no more than fit into the driver's memory."""


class RunStopped(KeyboardInterrupt):
    """A signal ended the run early; its folder is whole and can be resumed."""

    def __init__(self, signal_name: str, summary: Summary) -> None:
        super().__init__(f"{signal_name} after {summary.puzzles} verdicts")
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of the input before the run."""

    task: Task
    ids: PuzzleIds | None
    """Ids of all puzzles; None where reading them all would take long."""

    def n_left(self, finished: PuzzleIds) -> int | None:
        """Return how many puzzles are not finished; None where it is not known."""
        return None if self.ids is None else sum(puzzle_id not in finished for puzzle_id in self.ids)


def survey(config: EvaluateConfig) -> Survey:
    """Read and check the front of the input; InputError for what cannot be used."""
    task = find_task(config.task) if config.task else first_task(config.puzzles)
    ids = PuzzleIds()
    most = SURVEY_ROWS if config.scaling.max_replicas is None else COUNTED_ROWS
    for record in islice(read_puzzles(config.puzzles, task, config.limit, shard_of(config)), most):
        ids.add(record.puzzle.puzzle_id)
    known = len(ids) < most or len(ids) == config.limit
    return Survey(task, ids if known else None)


def shard_of(config: EvaluateConfig) -> Shard | None:
    """Return the share of the puzzles that a run is to work on, None for all of them."""
    return None if config.shard is None else Shard(*map(int, config.shard.split("/")))


def run_evaluation(config: EvaluateConfig, recipe: Recipe | None = None, quiet: bool = False) -> Summary:
    """Evaluate and return the summary; `recipe` puts another engine in the place of the checkpoint's.

    Raises InputError for bad input, RunStopped after SIGINT or SIGTERM, GaveUp when no replica can do the work. Whatever ends the run, the
    verdicts reached so far are in the folder, and the same configuration with `resume` goes on.
    """
    found = survey(config)
    policy = policy_from(
        config.policy.name, config.policy.depth, config.policy.breadth, config.policy.nfe, **config.policy.params
    )
    recipe = recipe or torch_recipe(config, found.task.name, policy)
    policy = calibrated(policy, recipe.calibration)
    resolved = config.model_copy(
        update={
            "task": found.task.name,
            "checkpoint": recipe.checkpoint.name if recipe.checkpoint else config.checkpoint,
            "policy": config.policy.model_validate(spec_of(policy).as_dict()),
        }
    )
    folder = Folder(resolved, recipe.checkpoint.sha256 if recipe.checkpoint else "")
    note: dict[str, object] = {}
    with folder.held(lambda: note):
        with StopWish() as stop:
            run = _Run(resolved, found, policy, recipe, folder, stop, note, quiet)
            run.work()
        return run.finish()


class _Run:
    """One session of an evaluation."""

    def __init__(
        self,
        config: EvaluateConfig,
        found: Survey,
        policy: Policy,
        recipe: Recipe,
        folder: Folder,
        stop: StopWish,
        note: dict[str, object],
        quiet: bool,
    ) -> None:
        self._config, self._found, self._policy, self._recipe = config, found, policy, recipe
        self._folder, self._stop = folder, stop
        self._note = note
        """What others may read of how far the run is."""
        self._open: dict[str, tuple[int, Record]] = {}
        """Puzzles in work: id -> (place in the input, record)."""
        self._scribe = Scribe(folder, found.task)
        self._done_before = self._scribe.n_done
        self._left = found.n_left(folder.finished)
        self._total = None if self._left is None else self._done_before + self._left
        self._cut_off = False
        self._session_id = f"{folder.manifest.run_id}-{secrets.token_hex(2)}"
        """Tells the actors and metrics of this session of the run from all others on the cluster."""
        self._session = Session(checkpoint_sha256=recipe.checkpoint.sha256 if recipe.checkpoint else "")
        self._progress = Progress(self._total, self._done_before, quiet)
        self._replica_s, self._seen_at = 0.0, 0.0
        self._retries_before = RETRIES.total
        self._tell(self._standing(0.0, 0))

    def work(self) -> None:
        """Do what is left; on return, or whatever is raised, every verdict is written."""
        if self._left == 0:
            if not self._folder.finished:
                self._folder.begin(self._total)
            self._folder.complete()
            return
        from eqr_ray.distributed.cluster import connect

        with connect(self._config.address) as cluster:
            self._stop.install()
            self._folder.begin(self._total)
            self._drive(cluster)
        if not self._cut_off:
            self._folder.complete()

    def _drive(self, cluster: Cluster) -> None:
        from eqr_ray.distributed.driver import Driver

        coordinator, staffing, upkeep = self._plan(cluster)
        driver = Driver(coordinator, staffing)
        upkeep.attach(coordinator, driver)
        started = time.monotonic()
        verdicts = driver.drive(self._puzzles())
        try:
            for batch in verdicts:
                self._scribe.note([Finished(*self._open.pop(verdict.puzzle_id), verdict) for verdict in batch])
                now = time.monotonic() - started
                self._show(now, driver.effort.ready, driver.effort.wanted, coordinator.lost_slices)
                upkeep.tick()
                if self._stop.name is not None:
                    self._cut_off = True
                    break
                if self._scribe.due(now):
                    self._scribe.flush(now)
                    self._folder.write_sessions(self._took(now, driver, coordinator))
        finally:
            now = time.monotonic() - started
            self._session = self._took(now, driver, coordinator)
            try:
                # First of all: whoever stops a job gives it a few seconds.
                self._scribe.flush(now)
                self._folder.write_sessions(self._session)
                self._show(now, driver.effort.most_ready, lost_slices=coordinator.lost_slices, last=True)
            finally:
                self._progress.close()
                verdicts.close()
                upkeep.end()

    def finish(self) -> Summary:
        """Write summary and report; raises RunStopped when a signal ended the work before its end."""
        sessions = (*self._folder.sessions, self._session)
        summary = self._scribe.running.summary(
            RunFacts(
                nfe_computed=sum(session.nfe_computed for session in sessions),
                nle_per_nfe=self._recipe.nle_per_nfe,
                wall_s=sum(session.wall_s for session in sessions),
                replicas=max(session.replicas for session in sessions),
                lost_slices=sum(session.lost_slices for session in sessions),
                storage_retries=sum(session.storage_retries for session in sessions),
                checkpoint=self._recipe.checkpoint,
                policy=spec_of(self._policy).as_dict(),
                seed=self._config.seed,
                version=version("eqr-ray"),
                device=", ".join(sorted({name for session in sessions for name in session.device.split(", ") if name})),
            )
        )
        self._folder.write(SUMMARY, summary.to_json())
        if summary.puzzles:
            write_report(self._folder.uri)
        if self._cut_off:
            raise RunStopped(self._stop.name or "", summary)
        return summary

    def _plan(self, cluster: Cluster) -> tuple[Coordinator, Staffing, Upkeep]:
        from eqr_ray.distributed.driver import Staffing
        from eqr_ray.distributed.roster import Patience
        from eqr_ray.distributed.shares import capacity, share_out
        from eqr_ray.engine.torch_engine import batch_rows

        config, nodes = self._config, cluster.nodes()
        device = device_of(config, nodes)
        gpus = config.gpus_per_replica if device == "cuda" else None
        share = share_out(nodes, config.replicas, gpus, config.threads)

        if config.replicas is not None and config.replicas > capacity(nodes, share):
            log.warning(
                "%d of %d replicas fit into the cluster now; the others wait for room",
                capacity(nodes, share),
                config.replicas,
            )

        def held() -> int:
            return config.replicas or max(1, capacity(cluster.nodes(), share))

        upkeep = Upkeep(self._session_id, config.scaling, share, held, self._outlook)
        rows = GPU_ROWS if device == "cuda" else CPU_ROWS
        patience = Patience(
            in_flight=config.slices_in_flight,
            quiet_s=min(30.0, config.slice_timeout_s / 4),
            hang_s=config.slice_timeout_s,
            give_up_s=config.start_timeout_s,
        )
        staffing = Staffing(
            factory=self._recipe.build(device, share.threads),
            share=share,
            desired=upkeep.desired,
            draining=cluster.draining,
            living=cluster.living,
            run=self._session_id,
            patience=patience,
            least_rows=min(batch_rows(device, share.threads, config.slots), rows),
            most_rows=rows,
        )
        wide = 2 * config.slices_in_flight * (config.scaling.max_replicas or held()) * rows
        coordinator = Coordinator(
            self._policy,
            config.seed,
            slice_rows=rows,
            open_limit=min(max(wide, LEAST_OPEN), MOST_OPEN),
            puzzle_tries=config.max_slice_tries,
        )
        return coordinator, staffing, upkeep

    def _puzzles(self) -> Iterator[Puzzle]:
        records = read_puzzles(self._config.puzzles, self._found.task, self._config.limit, shard_of(self._config))
        for place, record in enumerate(records):
            if record.puzzle.puzzle_id not in self._folder.finished:
                self._open[record.puzzle.puzzle_id] = (place, record)
                yield record.puzzle

    def _show(self, now: float, replicas: int, wanted: int = 0, lost_slices: int = 0, last: bool = False) -> None:
        self._replica_s += (now - self._seen_at) * replicas
        self._seen_at = now
        standing = self._standing(now, replicas, wanted, lost_slices)
        self._progress.show(standing, last)
        self._tell(standing)

    def _tell(self, standing: Standing) -> None:
        """Let whoever asks for the run's status read how it stands; the keys are always the same."""
        self._note.update(
            {
                **asdict(standing),
                "replica_s": self._replica_s,
                "storage_retries": RETRIES.total - self._retries_before,
                "sessions_before": len(self._folder.sessions),
            }
        )

    def _took(self, now: float, driver: Driver, coordinator: Coordinator) -> Session:
        counters = coordinator.counters()
        return Session(
            wall_s=now,
            nfe_computed=counters.nfe_computed,
            lost_slices=counters.lost_slices,
            replicas=driver.effort.most_ready,
            device=", ".join(sorted(driver.effort.devices)),
            checkpoint_sha256=self._session.checkpoint_sha256,
            replica_s=self._replica_s,
            lost_replicas=driver.effort.lost_replicas,
            storage_retries=RETRIES.total - self._retries_before,
            done=self._scribe.n_done - self._done_before,
        )

    def _outlook(self) -> Outlook:
        left = None if self._total is None else max(self._total - self._scribe.n_done, 0)
        return Outlook(left, self._scribe.accuracy)

    def _standing(self, now: float, replicas: int, wanted: int = 0, lost_slices: int = 0) -> Standing:
        scribe = self._scribe
        return Standing(
            scribe.n_done,
            self._done_before,
            self._total,
            now,
            scribe.accuracy,
            scribe.nfe,
            replicas,
            wanted,
            lost_slices,
        )
