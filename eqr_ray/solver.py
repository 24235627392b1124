"""Solving puzzles in one process, without Ray: `Solver("sudoku").solve("53..7....6..195... ...")`.

The verdict of a puzzle is the one that `eqr-ray evaluate` reaches with the same checkpoint, policy and seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.engine.factory import EngineSpec
from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.calibration import calibration_for
from eqr_ray.model.matching import checkpoint_for
from eqr_ray.policy import DEFAULT_POLICY, Calibration, Policy, calibrated, policy_from
from eqr_ray.puzzles.files import read_lines
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import Task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.types import InputError, Verdict

FAMILIES = ("sudoku", "maze")


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to one puzzle."""

    question: str
    """As it was asked."""
    text: str
    """The answer in the notation of the question, on one line."""
    valid: bool
    """Whether it obeys the rules of the task and keeps the clues; nothing in the search knows this."""
    verdict: Verdict
    """What the search found and spent."""
    board: str
    """The answer drawn for a terminal."""

    def __str__(self) -> str:
        return self.text


class Solver:
    """Answers puzzles with one checkpoint for each task, in this process."""

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        task: str | None = None,
        policy: str | Policy = DEFAULT_POLICY,
        depth: int | None = None,
        breadth: int | None = None,
        nfe: int | None = None,
        seed: int = 0,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        compiled: bool = False,
    ) -> None:
        """Prepare a solver; weights are read when the first puzzle comes.

        `checkpoint` is a bundled name, a folder or a URI; None or a family (`sudoku`, `maze`) takes the bundled one for the task of each
        puzzle. `policy` is a policy or the name of one, with its budget. `compiled` fuses the layers with torch.compile: faster from the
        second half minute on. Raises InputError for names and budgets that cannot be used.
        """
        self.checkpoint = None if checkpoint in FAMILIES else checkpoint
        self.task = find_task(task) if task else None
        if isinstance(policy, str):
            self.policy = policy_from(policy, depth, breadth, nfe)
        elif depth or breadth or nfe:
            raise InputError(
                "a policy object has its own budget; give depth, breadth and nfe with a policy's name only"
            )
        else:
            self.policy = policy
        self.seed, self.device, self.dtype, self.compiled = seed, device, dtype, compiled
        self.threads = (
            threads or len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else threads or os.cpu_count() or 1
        )
        self._engines: dict[str, TorchEngine] = {}
        self._calibrations: dict[str, Calibration | None] = {}

    def solve(self, question: str) -> Answer:
        """Answer one puzzle, given as one line or as a block of lines; InputError when it is not one."""
        block = "".join(question.split()) if "#" not in question else question
        return next(self.solve_many([block]))

    def solve_many(self, questions: Iterable[str]) -> Iterator[Answer]:
        """Answer puzzles of one task, one a line, in their order; easy and hard ones share the engine's batches."""
        return self.solve_records(read_lines(questions, "puzzles", self.task))

    def solve_records(self, records: Iterable[Record]) -> Iterator[Answer]:
        """Answer puzzles that were read by `eqr_ray.puzzles.read_puzzles`, in their order."""
        asked: dict[str, Record] = {}
        source = iter(records)
        first = next(source, None)
        if first is None:
            return
        rules, engine = find_task(first.puzzle.task), self._engine(first.puzzle.task)
        engine.reset()

        def puzzles() -> Iterator[Record]:
            yield first
            yield from source

        def registered() -> Iterator[Record]:
            for record in puzzles():
                asked[record.puzzle.puzzle_id] = record
                yield record

        policy = calibrated(self.policy, self._calibrations[first.puzzle.task])
        coordinator = Coordinator(policy, self.seed, open_limit=256)
        reached: dict[str, Verdict] = {}
        for verdict in drive_local(coordinator, engine, (record.puzzle for record in registered())):
            reached[verdict.puzzle_id] = verdict
            while asked and (head := next(iter(asked))) in reached:
                yield self._answer(rules, asked.pop(head), reached.pop(head))

    @staticmethod
    def _answer(rules: Task, record: Record, verdict: Verdict) -> Answer:
        cells = record.puzzle.cells
        return Answer(
            question=record.question,
            text=rules.format(verdict.answer),
            valid=rules.is_valid(cells, verdict.answer),
            verdict=verdict,
            board=rules.draw(cells, verdict.answer),
        )

    def _engine(self, task: str) -> TorchEngine:
        if task not in self._engines:
            found = checkpoint_for(task, self.checkpoint)
            self._calibrations[task] = calibration_for(self.policy, found)
            recipe = EngineSpec(found, self.device, self.dtype, self.threads, compiled=self.compiled)
            self._engines[task] = recipe()
        return self._engines[task]
