"""What a policy is: it grants rounds of work and chooses answers, for many puzzles at once.

Invariants, asserted in tests/contract/test_policy_contract.py for every policy: the same tally gives the same decision,
whatever other puzzles stand beside it; only running trajectories are extended; a puzzle is never granted more than its
budget; a puzzle that does not stop is granted at least one iteration, so every puzzle ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from eqr_ray.types import F32, F64, I64, U64, Allocations, Budget, Status, Tallies


@dataclass(frozen=True, slots=True, eq=False)
class Ballots:
    """The distinct answers of P puzzles, K in all; those of one puzzle stand together, best first."""

    answer_key: U64
    """(K,)"""
    count: I64
    """(K,) voting trajectories that decoded to the answer; 0 when only unsettled ones did."""
    weight: F64
    """(K,) posterior mass in [0, 1]; what is missing to 1 belongs to answers that nobody has given."""
    best_residual: F32
    """(K,) smallest residual of the trajectories that decoded to the answer; inf when undefined."""
    best_logit_delta: F32
    """(K,) smallest change of the logits among them; inf when undefined."""


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """The answers that a policy chose for P puzzles."""

    puzzle: I64
    """(P,) the coordinator's numbers, as in the tallies."""
    answer_key: U64
    """(P,) the chosen answer: the first ballot of each puzzle."""
    confidence: F64
    """(P,) stated probability that the answer is right: the weight of its ballot."""
    votes: I64
    """(P,) trajectories that voted for it; 0 marks a fall-back to the lowest residual because nobody could vote."""
    start: I64
    """(P + 1,) rows `start[p]:start[p + 1]` of `ballots` belong to puzzle p."""
    ballots: Ballots

    def __len__(self) -> int:
        return len(self.puzzle)


class Policy(Protocol):
    """Decides, between rounds, what each puzzle gets next and, at the end, which answer it gives."""

    @property
    def name(self) -> str:
        """The name under which the registry knows the policy."""
        ...

    @property
    def budget(self) -> Budget:
        """The most that one puzzle may be given, and the rule by which its trajectories halt."""
        ...

    @property
    def selection(self) -> str:
        """The rule that chooses the answer, as it stands in a verdict."""
        ...

    def allocate(self, tallies: Tallies) -> Allocations:
        """Stop each puzzle or grant its next round; called only when none of its trajectories is running on a
        replica."""
        ...

    def select(self, tallies: Tallies) -> Choices:
        """Choose the answer of each puzzle; every puzzle has at least one trajectory."""
        ...


@runtime_checkable
class PoolPolicy(Policy, Protocol):
    """Moves one budget between the puzzles of a cohort, at round boundaries.

    `allocate` is shown every puzzle of a cohort, sorted by number, and only when none of their trajectories is running; it
    stops all of them together, and may leave a puzzle waiting without stopping it. A cohort is the next `cohort` puzzles in
    the order of submission, the last one of a run what is left.
    """

    @property
    def cohort(self) -> int:
        """Puzzles that share a budget."""
        ...


def check_allocations(tallies: Tallies, allocations: Allocations, budget: Budget, pooled: bool = False) -> None:
    """Raise ValueError, naming the puzzle, where a grant breaks the rules that every policy keeps.

    pooled: the tallies are a cohort, of which some puzzle must go on, or all stop.
    """
    rows, owner = tallies.trajectories, tallies.owner
    stopped = np.array([reason is not None for reason in allocations.stop], dtype=np.bool_)
    extended = allocations.extend_to > 0
    more = np.where(extended, allocations.extend_to - rows.depth, 0).astype(np.float64)
    granted = np.bincount(owner, weights=more, minlength=len(tallies)).astype(np.int64)
    granted += allocations.spawn.astype(np.int64) * allocations.spawn_to
    extends_any = np.bincount(owner[extended], minlength=len(tallies)) > 0

    def refuse(wrong: np.ndarray, rule: str) -> None:
        if wrong.any():
            raise ValueError(f"puzzle {tallies.puzzle[int(np.argmax(wrong))]}: {rule}")

    def refuse_rows(wrong: np.ndarray, rule: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(f"puzzle {rows.puzzle[row]}, trajectory {rows.index[row]}: {rule}")

    refuse_rows(extended & (rows.status != Status.RUNNING), "only a running trajectory may be extended")
    refuse_rows(
        extended & (allocations.extend_to <= rows.depth), "an extension must go beyond the depth already reached"
    )
    refuse_rows(
        extended & (allocations.extend_to > budget.depth), f"an extension must stay within depth {budget.depth}"
    )
    spawns = allocations.spawn > 0
    refuse(allocations.spawn < 0, "spawn must not be negative")
    refuse(
        spawns & ((allocations.spawn_to < 1) | (allocations.spawn_to > budget.depth)),
        f"spawn_to must be in [1, {budget.depth}]",
    )
    refuse(tallies.breadth + allocations.spawn > budget.breadth, f"breadth must stay within {budget.breadth}")
    refuse(tallies.nfe + granted > budget.nfe, f"nfe must stay within {budget.nfe}")
    refuse(stopped & (spawns | extends_any), "a puzzle that stops is granted nothing")
    if pooled:
        refuse(stopped & ~stopped.all(), "the puzzles of a cohort must stop together")
        refuse(~stopped & ~(spawns | extends_any).any(), "a cohort that goes on must be granted something")
    else:
        refuse(~stopped & ~spawns & ~extends_any, "a puzzle that goes on must be granted something")
    refuse(stopped & (tallies.breadth == 0), "a puzzle cannot stop before its first trajectory")
