"""What a run asks of those who train: one process here, workers on a cluster in `distributed.training`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from eqr_ray.training.accuracy import Accuracy, measure
from eqr_ray.training.data import Pairs
from eqr_ray.training.loop import Trainer
from eqr_ray.training.report import StepReport, means
from eqr_ray.training.state import Snapshot, restore, take


class Team(Protocol):
    """One or several trainers that advance together."""

    @property
    def steps_done(self) -> int:
        """Steps since the run began."""
        ...

    def advance(self, n: int, over: Callable[[], bool]) -> dict[str, Any]:
        """Take up to n steps, fewer when `over` turns true; return the means of all steps since the last multiple of `log_every`."""
        ...

    def evaluate(self, stopped: Callable[[], bool]) -> Accuracy | None:
        """Measure the averaged weights; None when `stopped` turned true."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the state of the whole run."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Bring everybody to a snapshot."""
        ...


class Solo:
    """One trainer in this process."""

    def __init__(self, trainer: Trainer, evaluation: Pairs | None) -> None:
        self.trainer, self.evaluation = trainer, evaluation
        self.reports: list[StepReport] = []

    @property
    def steps_done(self) -> int:
        """Steps since the run began."""
        return self.trainer.steps_done

    def advance(self, n: int, over: Callable[[], bool]) -> dict[str, Any]:
        """Take up to n steps; the means are empty when none was taken."""
        for _ in range(n):
            if over():
                break
            self.reports.append(self.trainer.step())
        if not self.reports:
            return {}
        seen = means(self.reports, self.trainer.peers)
        if self.steps_done % self.trainer.settings.log_every == 0:
            self.reports.clear()
        return seen

    def evaluate(self, stopped: Callable[[], bool]) -> Accuracy | None:
        """Measure the averaged weights."""
        if self.evaluation is None:
            return None
        trainer = self.trainer
        rows = 64 if trainer.device.type == "cpu" else max(64, trainer.rows)
        return measure(
            trainer.averaged_model(), self.evaluation, trainer.settings.evaluation.depths, dtype=trainer.dtype,
            rows=rows, stopped=stopped,
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        """Return the state of the run."""
        snapshot = take(self.trainer)
        assert snapshot is not None, "the only worker is worker 0"
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Bring the trainer to a snapshot."""
        restore(self.trainer, snapshot)
        self.reports.clear()
