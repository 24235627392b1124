"""The values that flow between the rooms: numpy and the standard library only.

Singular names hold one thing, plural names hold columns of equal length N. S is the number of cells of a puzzle.
Invariants, asserted in tests/unit/test_types.py: every value is frozen; columns of one value have one length; a puzzle carries no label;
a budget that cannot be kept is refused when it is made.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


class Status(IntEnum):
    """What the engine saw of a trajectory when it last stepped it."""

    RUNNING = 0
    CONVERGED = 1
    """The halting rule held with a bound on the residual."""
    Q_HALTED = 2
    """The halting rule held, and it had no bound on the residual: the q head alone stopped the trajectory."""
    DIVERGED = 3
    """The latent state is not finite; it will never vote."""


class StopReason(StrEnum):
    """Why the policy closed a puzzle; the value tells what to raise for a different outcome."""

    CONSENSUS = "consensus"
    CONVERGED = "converged"
    NFE_SPENT = "nfe_spent"
    DEPTH_SPENT = "depth_spent"
    DEADLINE = "deadline"
    CRASHED = "crashed"
    """Replicas died each time they worked on the puzzle; there is no answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Puzzle:
    """A question without its answer."""

    puzzle_id: str
    """Unique within a run; by default the content digest, with `#2`, `#3` for repeats of the same question."""
    task: str
    """Name of the task, such as `sudoku9` or `maze30x30`; see `eqr_ray.puzzles`."""
    cells: U8
    """(S,) uint8, the encoded question: 0 is blank, 1..V-1 are symbols of the task."""

    @property
    def draw_key(self) -> int:
        """64-bit digest of task and cells: equal questions draw equal trajectories wherever they are asked."""
        return int(draw_key(self.task, self.cells))


def draw_key(task: str, cells: U8) -> np.uint64:
    """Return the 64-bit digest that keys a puzzle's random draws."""
    digest = hashlib.blake2b(
        task.encode() + b"\0" + np.ascontiguousarray(cells, dtype=np.uint8).tobytes(), digest_size=8
    )
    return np.uint64(int.from_bytes(digest.digest(), "little"))


@dataclass(frozen=True, slots=True)
class HaltRule:
    """When a trajectory counts as settled; checked after every iteration, row by row.

    A row halts at the first depth >= `min_depth` at which `residual < residual_below` and `q_halt > q_halt_above` have held for
    `stable_for` iterations in a row. The default never halts.
    """

    min_depth: int = 1
    residual_below: float = -math.inf
    """Bound on the running-mean residual; `inf` ignores the residual, `-inf` never halts."""
    q_halt_above: float = -math.inf
    """Bound on the halting logit; `-inf` ignores the q head."""
    stable_for: int = 2

    def __post_init__(self) -> None:
        if self.min_depth < 1:
            raise ValueError(f"min_depth must be at least 1, got min_depth={self.min_depth}")
        if self.stable_for < 1:
            raise ValueError(f"stable_for must be at least 1, got stable_for={self.stable_for}")

    @property
    def never(self) -> bool:
        """Whether no trajectory can ever satisfy this rule."""
        return self.residual_below == -math.inf


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one puzzle may be given."""

    depth: int
    """D, iterations of one trajectory."""
    breadth: int
    """B, trajectories."""
    nfe: int
    """Iterations over all trajectories of the puzzle, at most D * B."""
    halt: HaltRule = field(default_factory=HaltRule)

    def __post_init__(self) -> None:
        for name, value in (("depth", self.depth), ("breadth", self.breadth)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        most = self.depth * self.breadth
        if not 1 <= self.nfe <= most:
            raise ValueError(f"nfe must be in [1, depth * breadth = {most}], got nfe={self.nfe}")


@dataclass(frozen=True, slots=True, eq=False)
class Trajectories:
    """What is known of N trajectories; one row each."""

    puzzle: I64
    """(N,) the coordinator's number of the puzzle."""
    index: I32
    """(N,) which trajectory of the puzzle, counted from 0."""
    depth: I32
    """(N,) iterations done."""
    residual: F32
    """(N,) rms change of the read-out latent (z_H, or z) in one iteration, mean over the last three; inf before the third."""
    logit_delta: F32
    """(N,) mean over the last three changes of the logits, rms; inf before the fourth iteration."""
    q_halt: F32
    """(N,) halting logit: positive means that the q head takes the answer for right."""
    answer_key: U64
    """(N,) hash of the decoded answer; equal answers of a puzzle have equal keys."""
    status: U8
    """(N,) values of `Status`."""

    def __len__(self) -> int:
        return len(self.puzzle)

    def take(self, rows: NDArray[np.intp] | Bool | slice) -> Trajectories:
        """Return the rows selected by an index array, a mask or a slice."""
        return Trajectories(
            self.puzzle[rows], self.index[rows], self.depth[rows], self.residual[rows],
            self.logit_delta[rows], self.q_halt[rows], self.answer_key[rows], self.status[rows],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Orders for one replica: bring each of N trajectories to a depth. Idempotent: a row already there is reported again."""

    slice_id: int
    replica_id: str
    puzzle: I64
    """(N,)"""
    index: I32
    """(N,)"""
    seed: U64
    """(N,) keys every draw of the trajectory."""
    until: I32
    """(N,) the depth to reach, unless the row halts before."""
    halt: I32
    """(N,) which of `halts` governs the row."""
    halts: tuple[HaltRule, ...]
    cells: dict[int, U8]
    """Questions of the puzzles that this replica has not seen yet: number -> (S,)."""
    retired: I64
    """(M,) puzzles that are closed: their parked latents and cells may be dropped."""

    def __len__(self) -> int:
        return len(self.puzzle)


@dataclass(frozen=True, slots=True, eq=False)
class SliceResult:
    """What a replica reports of a slice: raw facts, no verdict."""

    slice_id: int
    replica_id: str
    trajectories: Trajectories
    """One row for each order of the slice, in any order."""
    answers: dict[int, U8]
    """answer_key -> (S,) decoded answer, for every key among the trajectories."""
    nfe_computed: int
    """Iterations that the device did for this slice, padding rows and repeats included."""
    elapsed_s: float


class Engine(Protocol):
    """Runs slices. Implemented by the torch engine, the simulator and the trace replay; all pass tests/contract."""

    def run(self, orders: Slice) -> SliceResult:
        """Bring every trajectory of the slice to its depth or to its halt and report it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """All trajectories of P puzzles between rounds, when none is running: what a policy decides on."""

    puzzle: I64
    """(P,) the coordinator's numbers, ascending."""
    start: I64
    """(P + 1,) rows `start[p]:start[p + 1]` of `trajectories` belong to puzzle p."""
    trajectories: Trajectories
    """(T,) sorted by puzzle, then index."""
    rounds: I32
    """(P,) rounds of orders done so far; 0 for a puzzle that has no trajectory yet."""

    def __len__(self) -> int:
        return len(self.puzzle)

    @property
    def owner(self) -> I64:
        """(T,) position in 0..P-1 of the puzzle that each trajectory belongs to."""
        return np.repeat(np.arange(len(self.puzzle), dtype=np.int64), np.diff(self.start))

    @property
    def breadth(self) -> I64:
        """(P,) trajectories of each puzzle."""
        return np.diff(self.start)

    @property
    def nfe(self) -> I64:
        """(P,) iterations charged to each puzzle: the depths of its trajectories, added up."""
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.trajectories.depth, dtype=np.int64)])
        return np.asarray(total[self.start[1:]] - total[self.start[:-1]], dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Allocations:
    """What a policy grants P puzzles for their next round; a puzzle that stops is granted nothing."""

    stop: tuple[StopReason | None, ...]
    """(P,) None: go on."""
    extend_to: I32
    """(T,) aligned with the tallies' trajectories: the depth to reach, 0 to leave the row as it is."""
    spawn: I32
    """(P,) how many new trajectories."""
    spawn_to: I32
    """(P,) the depth to which new trajectories run first."""


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """One distinct answer of a puzzle and what speaks for it."""

    answer_key: int
    answer: U8
    """(S,)"""
    count: int
    """Voting trajectories that decoded to this answer."""
    weight: float
    """Posterior mass in [0, 1] that the policy gives it."""
    best_residual: float
    """Smallest residual among them; inf when undefined."""
    best_logit_delta: float


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The answer to one puzzle, and what it cost."""

    puzzle_id: str
    answer: U8
    """(S,); the question itself, with its blank cells, where `stop` is CRASHED: there is no answer then."""
    selection: str
    """The rule that chose the answer, such as `majority` or `top1_residual`."""
    confidence: float
    """Stated probability that the answer is right."""
    votes: int
    """Trajectories that voted for the answer; 0 when no trajectory settled and the answer is a fall-back."""
    distinct_answers: int
    breadth: int
    """Trajectories started."""
    depth: int
    """Iterations of the deepest trajectory."""
    nfe: int
    """Iterations charged: the depths of all its trajectories, added up."""
    residual: float
    """Smallest residual among the trajectories that decoded to the answer."""
    stop: StopReason
    ballot: tuple[Vote, ...]
    """Every distinct answer, best first; what the oracle and the other selection rules are scored from."""


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence that names file, line, value and remedy. Exit code 2."""


class StorageError(OSError):
    """A file or object could not be read or written; the message is one sentence that names it, the reason and a remedy."""
