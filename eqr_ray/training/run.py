"""A training run from settings to checkpoint: steps, log, evaluations, saves, and a clean stop.

The folder of a run holds `settings.json`, `log.jsonl` (a line every `log_every` steps and every evaluation), `events/` (TensorBoard),
the state to resume from, and `checkpoint/`, a usable checkpoint of the averaged weights, renewed at every save.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from eqr_ray.config.reading import load_into
from eqr_ray.model.checkpoint import save
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.accuracy import Accuracy
from eqr_ray.training.data import Pairs, load_evaluation
from eqr_ray.training.journal import Journal
from eqr_ray.training.loop import Materials, Trainer
from eqr_ray.training.settings import TrainSettings
from eqr_ray.training.state import POINTER, Snapshot, read, write
from eqr_ray.training.team import Solo, Team
from eqr_ray.types import InputError

CHECKPOINT = "checkpoint"
LARGEST_WEIGHTS = 15 << 20
"""Bytes of float32 weights beyond which `checkpoint/` holds bfloat16: its file, too, is kept under 16 MiB."""


MOST_STEPS = 10
"""Steps between two looks of the progress bar."""


class TrainingStopped(RuntimeError):
    """A signal ended the run before its last step, with everything saved."""


def train_from_config(
    config: str | Path | None,
    overrides: Sequence[str] = (),
    *,
    out: str | Path,
    minutes: float | None = None,
    resume: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    compiled: bool = False,
) -> Path:
    """Train in this process as a YAML file says and return the folder of the checkpoint.

    Stops after `minutes`, on SIGINT or on SIGTERM with everything saved (a signal raises TrainingStopped then); `resume` goes on from
    there. Raises InputError for settings, data or a folder that cannot be used.
    """
    plan = Plan.of(config, overrides, out=out, minutes=minutes, resume=resume)
    if threads:
        torch.set_num_threads(threads)
    team = Solo(Trainer(plan.settings, device, plan.materials, compiled=compiled), plan.evaluation)
    return plan.carry_out(team)


class Plan:
    """What to train, checked and read; nothing is written before `carry_out`."""

    def __init__(self, settings: TrainSettings, folder: Path, minutes: float | None, resume: bool) -> None:
        self.started = time.monotonic()
        self.settings, self.folder, self.minutes = settings, folder, minutes
        self.snapshot: Snapshot | None = read(folder, settings) if resume else None
        self.materials = Materials.read(settings)
        self.evaluation = load_evaluation(settings.evaluation, settings.task)

    @classmethod
    def of(cls, config: str | Path | None, overrides: Sequence[str], *, out: str | Path, minutes: float | None,
           resume: bool) -> Plan:  # fmt: skip
        """Read settings, data and the state to resume; InputError for what cannot be used."""
        settings = load_into(TrainSettings, config, overrides)
        folder = Path(out)
        if not resume and (folder / POINTER).exists():
            raise InputError(
                f"{folder}: holds a training run already; give --resume to go on with it or another folder"
            )
        if minutes is not None and not minutes > 0:
            raise InputError(f"minutes must be above 0, got minutes={minutes}")
        return cls(settings, folder, minutes, resume)

    def go_back(self) -> None:
        """Start over from the newest save, if there is one: the workers are lost, what they did since then too."""
        self.snapshot = read(self.folder, self.settings) if (self.folder / POINTER).exists() else None

    def carry_out(self, team: Team) -> Path:
        """Train to the end, the time limit or a signal; return the checkpoint's folder."""
        if self.snapshot is not None:
            team.restore(self.snapshot)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "settings.json").write_text(json.dumps(self.settings.model_dump(mode="json"), indent=1) + "\n")
        n_puzzles = sum(len(pairs) for pairs in self.materials.sets)
        return _Run(team, self.settings, self.folder, self.evaluation, n_puzzles).until(self.started, self.minutes)


class _Run:
    """The loop around a team."""

    def __init__(
        self, team: Team, settings: TrainSettings, folder: Path, evaluation: Pairs | None, n_puzzles: int
    ) -> None:
        self.team, self.settings, self.folder = team, settings, folder
        self.evaluation, self.n_puzzles = evaluation, n_puzzles
        self.journal = Journal(folder, team.steps_done)
        self.signal: signal.Signals | None = None
        self.evaluation_s = 0.0
        """What the last evaluation took: the time limit leaves room for one more."""
        self.evaluated_at = -1
        self.accuracy: Accuracy | None = None
        self.saved_at = (-1, -1)
        """Steps done at the last save, and at the evaluation that its card tells of."""

    def until(self, started: float, minutes: float | None) -> Path:
        """Step to the end of the run, the time limit or a signal; save; return the checkpoint's folder."""
        settings, team = self.settings, self.team

        def over() -> bool:
            late = minutes is not None and time.monotonic() - started + self.evaluation_s > 60 * minutes
            return late or self.signal is not None

        with self._signals(), contextlib.closing(self.journal), _progress(settings.steps, team.steps_done) as shown:
            while team.steps_done < settings.steps and not over():
                n = min(_steps_to(every, team.steps_done) for every in self._rhythm())
                seen = team.advance(min(n, MOST_STEPS, settings.steps - team.steps_done), over)
                done = team.steps_done
                shown(done, seen)
                if seen and done % settings.log_every == 0:
                    self.journal.note(done, {**seen, "seconds": round(time.monotonic() - started, 1)})
                if done % settings.evaluation.every == 0 and not over():
                    self._evaluate()
                if done % settings.save_every == 0:
                    self._save()
            if self.signal is None:
                self._evaluate()
            self._save()
        if self.signal is not None and team.steps_done < settings.steps:
            raise TrainingStopped(f"stopped by {self.signal.name} after step {team.steps_done} of {settings.steps}")
        return self.folder / CHECKPOINT

    def _rhythm(self) -> tuple[int, ...]:
        return self.settings.log_every, self.settings.save_every, self.settings.evaluation.every

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)

    def _evaluate(self) -> None:
        done = self.team.steps_done
        if self.evaluation is None or self.evaluated_at == done:
            return
        began = time.monotonic()
        found = self.team.evaluate(lambda: self.signal is not None)
        if found is None:
            return
        self.accuracy, self.evaluated_at = found, done
        self.evaluation_s = time.monotonic() - began
        self.journal.note(
            done,
            {
                "exact_accuracy_by_depth": found.by_depth(),
                "puzzles": len(found.pairs),
                "by_source": found.by_source(),
                "evaluation_seconds": round(self.evaluation_s, 1),
            },
        )
        print(
            f"step {done}: exact accuracy by depth {found.by_depth()}, n = {len(found.pairs)}",
            file=sys.stderr,
        )

    def _save(self) -> None:
        if self.saved_at == (self.team.steps_done, self.evaluated_at):
            return
        self.saved_at = (self.team.steps_done, self.evaluated_at)
        snapshot = self.team.snapshot()
        write(snapshot, self.folder)
        settings = self.settings
        model = EquilibriumReasoner(settings.network.spec(settings.task))
        weights = {key.removeprefix("weights."): v for key, v in snapshot.tensors.items() if key.startswith("weights.")}
        average = {key.removeprefix("average."): v for key, v in snapshot.tensors.items() if key.startswith("average.")}
        model.load_state_dict({**weights, **average})
        card: dict[str, Any] = {
            "name": self.folder.name,
            "task": settings.task,
            "steps": snapshot.steps_done,
            "training_puzzles": self.n_puzzles,
            "settings": snapshot.settings,
        }
        if self.accuracy is not None and self.evaluated_at == snapshot.steps_done:
            card["accuracy_by_depth"] = {
                "puzzles": len(self.accuracy.pairs),
                "path": settings.evaluation.path,
                "exact_accuracy": self.accuracy.by_depth(),
                "by_source": self.accuracy.by_source(),
            }
        wide = 4 * model.n_parameters <= LARGEST_WEIGHTS
        save(self.folder / CHECKPOINT, model, card, torch.float32 if wide else torch.bfloat16)


def _steps_to(every: int, done: int) -> int:
    """Return how many steps there are to the next multiple of `every`."""
    return every - done % every


@contextlib.contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[int, dict[str, Any]], None]]:
    """Give a function that shows how far a run is: a bar on a terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done, seen: None
        return
    with tqdm(total=total, initial=done, unit="step", file=sys.stderr, disable=None) as bar:

        def show(done: int, seen: dict[str, Any]) -> None:
            bar.update(done - bar.n)
            if seen:
                bar.set_postfix(loss=seen["loss"], exact=seen["exact_accuracy"])

        yield show
