"""A training run from settings to checkpoint: steps, log, evaluations, saves, and a clean stop.

The folder of a run holds `settings.json`, `log.jsonl` (a line every `log_every` steps and every evaluation), the state to resume from, and
`checkpoint/`, a usable checkpoint of the averaged weights, renewed at every save.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import torch
from tqdm import tqdm

from eqr_ray.config.reading import load_into
from eqr_ray.model.checkpoint import save
from eqr_ray.training.accuracy import accuracy_by_depth
from eqr_ray.training.data import Pairs, load_pairs
from eqr_ray.training.loop import StepReport, Trainer
from eqr_ray.training.settings import SourceSettings, TrainSettings
from eqr_ray.training.state import POINTER, load_state, save_state
from eqr_ray.types import InputError


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
    """Train as a YAML file says and return the folder of the checkpoint.

    Stops after `minutes`, on SIGINT or on SIGTERM with everything saved; `resume` goes on from there. Raises InputError for
    settings, data or a folder that cannot be used.
    """
    settings = load_into(TrainSettings, config, overrides)
    folder = Path(out)
    if not resume and (folder / POINTER).exists():
        raise InputError(f"{folder}: holds a training run already; give --resume to go on with it or another folder")
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes must be above 0, got minutes={minutes}")
    if threads:
        torch.set_num_threads(threads)
    trainer = Trainer(settings, device)
    if resume:
        load_state(trainer, folder)
    if compiled:
        trainer.model.block = torch.compile(trainer.model.block, dynamic=False)  # type: ignore[method-assign]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings.model_dump(mode="json"), indent=1) + "\n")
    return _Run(trainer, folder).until(minutes)


class _Run:
    """The loop around a trainer."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.settings, self.folder = trainer, trainer.settings, folder
        wanted = self.settings.evaluation
        self.pairs: Pairs | None = None
        if wanted.path:
            self.pairs = load_pairs(SourceSettings(path=wanted.path), self.settings.task, wanted.puzzles)
        self.stopped = False

    def until(self, minutes: float | None) -> Path:
        """Step to the end of the run, the time limit or a signal; save; return the checkpoint's folder."""
        started = time.monotonic()
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        reports: list[StepReport] = []
        trainer, settings = self.trainer, self.settings
        progress = tqdm(total=settings.steps, initial=trainer.steps_done, unit="step", file=sys.stderr, disable=None)
        try:
            while trainer.steps_done < settings.steps and not self.stopped:
                if minutes is not None and time.monotonic() - started > 60 * minutes:
                    break
                reports.append(trainer.step())
                progress.update()
                done = trainer.steps_done
                if done % settings.log_every == 0:
                    line = self._log(_means(reports) | {"seconds": round(time.monotonic() - started, 1)})
                    progress.set_postfix(loss=line["loss"], exact=line["exact_accuracy"])
                    reports.clear()
                if self.pairs is not None and done % settings.evaluation.every == 0:
                    self._evaluate(self.pairs)
                if done % settings.save_every == 0:
                    self._save()
        finally:
            progress.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        accuracy = self._evaluate(self.pairs) if self.pairs is not None and not self.stopped else None
        return self._save(accuracy)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopped = True

    def _log(self, values: dict[str, object]) -> dict[str, object]:
        line = {"step": self.trainer.steps_done, **values}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        return line

    def _evaluate(self, pairs: Pairs) -> dict[str, float]:
        depths = self.settings.evaluation.depths
        by_depth = accuracy_by_depth(self.trainer.averaged_model(), pairs, depths, dtype=self.settings.dtype)
        accuracy = {str(depth): round(share, 4) for depth, share in by_depth.items()}
        self._log({"exact_accuracy_by_depth": accuracy, "puzzles": len(pairs)})
        print(f"step {self.trainer.steps_done}: exact accuracy by depth {accuracy}, n = {len(pairs)}", file=sys.stderr)
        return accuracy

    def _save(self, accuracy: dict[str, float] | None = None) -> Path:
        save_state(self.trainer, self.folder)
        card = {
            "name": self.folder.name,
            "task": self.settings.task,
            "steps": self.trainer.steps_done,
            "training_puzzles": sum(len(pairs) for pairs in self.trainer.sampler.sets),
            "settings": self.settings.model_dump(mode="json"),
        }
        if accuracy is not None and self.pairs is not None:
            card["accuracy_by_depth"] = {
                "puzzles": len(self.pairs),
                "path": self.settings.evaluation.path,
                "exact_accuracy": accuracy,
            }
        return save(self.folder / "checkpoint", self.trainer.averaged_model(), card)


def _means(reports: list[StepReport]) -> dict[str, object]:
    """Return the averages of some steps; those over finished rows weigh each row alike."""
    n = len(reports)
    finished = sum(report.finished for report in reports)

    def over_finished(name: str) -> float | None:
        total = sum(getattr(report, name) * report.finished for report in reports if report.finished)
        return round(total / finished, 4) if finished else None

    plain: list[tuple[str, Callable[[StepReport], float]]] = [
        ("loss", lambda r: r.loss),
        ("q_loss", lambda r: r.q_loss),
        ("token_accuracy", lambda r: r.token_accuracy),
        ("exact_accuracy", lambda r: r.exact_accuracy),
        ("gradient_norm", lambda r: r.gradient_norm if math.isfinite(r.gradient_norm) else 0.0),
    ]
    values: dict[str, object] = {name: round(sum(get(report) for report in reports) / n, 4) for name, get in plain}
    return values | {
        "finished": finished,
        "finished_exact": over_finished("finished_exact"),
        "segments": over_finished("segments"),
    }
