"""The calibrated posterior: stop when the leader is right with probability 1 - delta, or when going on is not worth its price.

Invariants, asserted in tests/unit/policy/test_posterior.py: the stated confidence is the one that stops a puzzle; a trajectory is
extended exactly where that promises at least as much an iteration as starting anew, and its price; a price of 0 gives nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from eqr_ray.policy import halting
from eqr_ray.policy.calibration import Calibration, leaders_of, sigmoid, trajectory_features
from eqr_ray.policy.chances import outlook_of
from eqr_ray.policy.granting import extend, settle
from eqr_ray.policy.protocol import Ballots, Choices
from eqr_ray.policy.voting import Selection, choose, settled
from eqr_ray.types import F64, I64, Allocations, Bool, Budget, HaltRule, Status, Tallies


@dataclass(frozen=True)
class Posterior:
    """Extend or widen, whichever settles right sooner, until the leader is sure enough (after CGES, arXiv 2511.02603)."""

    name: ClassVar[str] = "posterior"
    selection: ClassVar[str] = "calibrated_posterior"

    depth: int = 64
    """D. Raising it helps puzzles that stop with `depth_spent`."""
    breadth: int = 16
    """B. Raising it helps puzzles whose settled trajectories disagree to the end."""
    nfe: int | None = None
    """Cap on the iterations of a puzzle; left out it is D * B."""
    delta: float = 0.01
    """Chance of a wrong answer at which a puzzle is closed. Smaller asks for more votes."""
    least_votes: int = 1
    """Votes without which no answer is sure, whatever its confidence."""
    price: float = 0.0
    """Chance of a right answer that one iteration must be expected to add; below it a puzzle is given up. 0 never gives up."""
    first_depth: int = 16
    """Depth of a new trajectory's first round. Halting makes depth that is not needed free."""
    first_breadth: int = 1
    """Trajectories of the first round."""
    growth: float = 1.5
    """Factor by which breadth grows when it must. Larger needs fewer rounds and overshoots more."""
    deepen: float = 2.0
    """Factor by which depth grows in a round. Less stops nearer to the iteration that is not worth its price, in more rounds."""
    focus: float = 1.0
    """Share of its puzzle's best index that a trajectory needs to be extended beside the best: 1 extends one at a time, which costs least,
    0 all that are worth it, in fewer rounds."""
    min_depth: int = halting.MIN_DEPTH
    """See `HaltRule`."""
    residual_below: float | None = None
    """This and the following: see `Calibration`; left out, the checkpoint's own, or the fall-back without one."""
    q_halt_above: float | None = None
    stable_for: float | None = None
    trust_bias: float | None = None
    trust_q: float | None = None
    trust_residual: float | None = None
    trust_delta: float | None = None
    trust_depth: float | None = None
    trust_most: float | None = None
    vote_bias: float | None = None
    vote_mass: float | None = None
    vote_trust: float | None = None
    vote_count: float | None = None
    vote_rivals: float | None = None
    vote_open: float | None = None
    vote_most: float | None = None
    vote_none: float | None = None
    extend_bias: float | None = None
    extend_q: float | None = None
    extend_residual: float | None = None
    extend_delta: float | None = None
    extend_depth: float | None = None
    extend_open: float | None = None
    spawn_bias: float | None = None
    spawn_depth: float | None = None
    spawn_open: float | None = None
    spawn_votes: float | None = None
    spawn_near: float | None = None

    def __post_init__(self) -> None:
        for name in ("first_depth", "first_breadth", "least_votes"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be in (0, 1), got delta={self.delta}")
        if not self.price >= 0:
            raise ValueError(f"price must be at least 0, got price={self.price}")
        if not self.growth >= 1:
            raise ValueError(f"growth must be at least 1, got growth={self.growth}")
        if not 0 <= self.focus <= 1:
            raise ValueError(f"focus must be in [0, 1], got focus={self.focus}")
        if not self.deepen > 1:
            raise ValueError(f"deepen must be greater than 1, got deepen={self.deepen}")
        known = self.calibration
        if np.isnan([known.residual_below, known.q_halt_above]).any():
            raise ValueError("a threshold must be a number, got nan")
        if known.stable_for != round(known.stable_for):
            raise ValueError(f"stable_for must be a whole number, got stable_for={known.stable_for}")
        _ = self.budget

    @cached_property
    def budget(self) -> Budget:
        """D, B, the cap and the halting rule."""
        nfe = self.depth * self.breadth if self.nfe is None else self.nfe
        known = self.calibration
        rule = HaltRule(self.min_depth, known.residual_below, known.q_halt_above, round(known.stable_for))
        return Budget(self.depth, self.breadth, nfe, rule)

    @cached_property
    def calibration(self) -> Calibration:
        """What is known of the checkpoint."""
        given = {column.name: getattr(self, column.name) for column in fields(Calibration)}
        return replace(Calibration(), **{name: value for name, value in given.items() if value is not None})

    @cached_property
    def sure(self) -> float:
        """The confidence that closes a puzzle: 1 - delta, or the most that the calibration can state."""
        return min(1 - self.delta, float(sigmoid(np.array([self.calibration.vote_most]))[0]))

    def select(self, tallies: Tallies) -> Choices:
        """Let settled trajectories vote, weighed by their calibrated log odds; state the calibrated confidence."""
        voters = settled(tallies.trajectories)
        trust = self.calibration.trust(trajectory_features(tallies.trajectories))
        chosen = choose(tallies, voters, Selection.POSTERIOR, trust=trust)
        log_odds = self.calibration.leader_log_odds(leaders_of(tallies, chosen, voters, trust))
        return restated(chosen, sigmoid(log_odds))

    def judge(self, tallies: Tallies) -> Judgement:
        """Return how sure each puzzle is and what going on promises it."""
        begun = tallies.breadth > 0
        confidence, votes = np.zeros(len(tallies)), np.zeros(len(tallies), np.int64)
        if begun.any():
            start = np.concatenate([np.zeros(1, np.int64), np.cumsum(tallies.breadth[begun])])
            known = Tallies(tallies.puzzle[begun], start, tallies.trajectories, tallies.rounds[begun])
            chosen = self.select(known)
            votes[begun] = chosen.votes
            confidence[begun] = np.where(chosen.votes > 0, chosen.confidence, 0.0)
        outlook = outlook_of(tallies, self.calibration, self.depth, self.breadth, self.first_depth)
        wrong = 1 - confidence
        extend, spawn = wrong[tallies.owner] * outlook.extend, wrong * outlook.spawn
        best = spawn.copy()
        np.maximum.at(best, tallies.owner, extend)
        agreed = (confidence >= self.sure) & (votes >= self.least_votes)
        return Judgement(agreed, begun & ~agreed & (best < self.price), extend, spawn, best)

    def allocate(self, tallies: Tallies) -> Allocations:
        """Stop the puzzles that are sure or not worth their price; extend and widen the others."""
        judged = self.judge(tallies)
        decided = np.select([judged.agreed, judged.hopeless], [2, 3], default=0)
        return self.grants(tallies, judged, decided, np.where(decided > 0, 0, self.budget.nfe - tallies.nfe))

    def grants(self, tallies: Tallies, judged: Judgement, decided: I64, left: I64) -> Allocations:
        """Grant each puzzle that is not decided (P,) its next round out of `left` iterations (P,)."""
        owner, rows = tallies.owner, tallies.trajectories
        least = np.maximum(np.maximum(judged.spawn, self.price), self.focus * judged.best)
        worth = (judged.extend >= least[owner]) & (left > 0)[owner]
        # Certainty leaves nothing to gain; a puzzle that must go on nevertheless extends what can be.
        worth &= (rows.status == Status.RUNNING) & (rows.depth < self.depth)
        depth = rows.depth.astype(np.int64)
        deeper = np.ceil(self.deepen * rows.depth.astype(np.float64)).astype(np.int64)
        target = np.minimum(np.maximum(np.maximum(deeper, depth + 1), self.first_depth), self.depth)
        extend_to, left_over = extend(tallies, owner, worth, left, target)
        extended = np.bincount(owner[worth], minlength=len(tallies))
        grown = np.maximum((tallies.breadth * (self.growth - 1)).astype(np.int64), 1)
        wanted = np.where(tallies.breadth == 0, self.first_breadth, np.where(extended == 0, grown, 0))
        return settle(tallies, owner, self.budget, extend_to, left_over, wanted, self.first_depth, decided)


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a policy thinks of P puzzles with T trajectories."""

    agreed: Bool
    """(P,) whether the leader is sure enough."""
    hopeless: Bool
    """(P,) whether nothing that could be done is worth its price."""
    extend: F64
    """(T,) chance of a right answer that an iteration of this trajectory is expected to add."""
    spawn: F64
    """(P,) the same of a new one."""
    best: F64
    """(P,) the largest of them: the puzzle's index."""


def restated(chosen: Choices, confidence: F64) -> Choices:
    """Return choices whose leaders have these weights (P,); the other answers share the rest in their old proportion."""
    first, size = chosen.start[:-1], np.diff(chosen.start)
    ballots = chosen.ballots
    old = ballots.weight[first]
    rest = np.where(old < 1, (1 - confidence) / np.maximum(1 - old, 1e-300), 0.0)
    weight = np.minimum(ballots.weight * np.repeat(np.minimum(rest, 1e300), size), 1.0)
    weight[first] = confidence
    total = np.bincount(np.repeat(np.arange(len(first)), size), weights=weight, minlength=len(first))
    # Rounding may carry a sum over 1 by a few units in the last place; the leader keeps what it was given.
    over = np.repeat(np.where(total > 1, (1 - confidence) / np.maximum(total - confidence, 1e-300), 1.0), size)
    over[first] = 1.0
    weight = weight * over
    restated_ballots = Ballots(
        ballots.answer_key, ballots.count, weight, ballots.best_residual, ballots.best_logit_delta
    )
    return Choices(chosen.puzzle, chosen.answer_key, confidence, chosen.votes, chosen.start, restated_ballots)
