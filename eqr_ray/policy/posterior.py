"""The calibrated posterior: stop when the leader is right with probability 1 - delta, or when going on is not worth its price.

Invariants, asserted in tests/unit/policy/test_posterior.py: the stated confidence is the one that stops a puzzle; extending is
preferred to starting anew exactly where its measured rate is higher; a price of 0 gives nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from eqr_ray.policy import halting
from eqr_ray.policy.calibration import Calibration, leaders_of, sigmoid
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
    price: float = 0.0
    """Chance of a right answer that one iteration must be expected to add; below it a puzzle is given up. 0 never gives up."""
    first_depth: int = 16
    """Depth of a new trajectory's first round. Halting makes depth that is not needed free."""
    first_breadth: int = 1
    """Trajectories of the first round."""
    growth: float = 1.5
    """Factor by which breadth grows when it must. Larger needs fewer rounds and overshoots more."""
    patience: int = 32
    """Depth from which a running trajectory above `abandon_above` is left where it is, until breadth is used up."""
    abandon_above: float = 0.5
    """Residual, on latents of rms 1, that counts as high after `patience` iterations; inf abandons nothing."""
    min_depth: int = halting.MIN_DEPTH
    """See `HaltRule`."""
    residual_below: float = halting.RESIDUAL_BELOW
    """See `HaltRule`."""
    q_halt_above: float = halting.Q_HALT_ABOVE
    """See `HaltRule`."""
    stable_for: int = halting.STABLE_FOR
    """See `HaltRule`."""
    trust_bias: float | None = None
    """This and the following: see `Calibration`; left out, the checkpoint's own, or the fall-back without one."""
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
    extend_log_rate: float | None = None
    extend_slope: float | None = None
    spawn_log_rate: float | None = None
    spawn_slope: float | None = None
    solve_shape: float | None = None
    solve_scale: float | None = None

    def __post_init__(self) -> None:
        for name in ("first_depth", "first_breadth", "patience"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be in (0, 1), got delta={self.delta}")
        if not self.price >= 0:
            raise ValueError(f"price must be at least 0, got price={self.price}")
        if not self.growth >= 1:
            raise ValueError(f"growth must be at least 1, got growth={self.growth}")
        if np.isnan([self.abandon_above, self.residual_below, self.q_halt_above]).any():
            raise ValueError("a threshold must be a number, got nan")
        _ = self.budget

    @cached_property
    def budget(self) -> Budget:
        """D, B, the cap and the halting rule."""
        nfe = self.depth * self.breadth if self.nfe is None else self.nfe
        rule = HaltRule(self.min_depth, self.residual_below, self.q_halt_above, self.stable_for)
        return Budget(self.depth, self.breadth, nfe, rule)

    @cached_property
    def calibration(self) -> Calibration:
        """What is known of the checkpoint."""
        given = {column.name: getattr(self, column.name) for column in fields(Calibration)}
        return replace(Calibration(), **{name: value for name, value in given.items() if value is not None})

    def select(self, tallies: Tallies) -> Choices:
        """Let settled trajectories vote, weighed by their calibrated log odds; state the calibrated confidence."""
        voters = settled(tallies.trajectories)
        trust = self.calibration.trust(tallies.trajectories)
        chosen = choose(tallies, voters, Selection.POSTERIOR, trust=trust)
        log_odds = self.calibration.leader_log_odds(leaders_of(tallies, chosen, voters, trust))
        return restated(chosen, sigmoid(log_odds))

    def confidence(self, tallies: Tallies) -> F64:
        """Return the probability that each puzzle's leader is right, 0 for one without a vote, (P,)."""
        begun = tallies.breadth > 0
        found = np.zeros(len(tallies))
        if begun.any():
            start = np.concatenate([np.zeros(1, np.int64), np.cumsum(tallies.breadth[begun])])
            known = Tallies(tallies.puzzle[begun], start, tallies.trajectories, tallies.rounds[begun])
            chosen = self.select(known)
            found[begun] = np.where(chosen.votes > 0, chosen.confidence, 0.0)
        return found

    def allocate(self, tallies: Tallies) -> Allocations:
        """Stop the puzzles that are sure or not worth their price; extend and widen the others."""
        confidence = self.confidence(tallies)
        agreed = confidence >= 1 - self.delta
        gain = self.gain(tallies, confidence)
        hopeless = (gain < self.price) & (tallies.breadth > 0)
        decided = np.select([agreed, hopeless], [2, 3], default=0)
        left = np.where(decided > 0, 0, self.budget.nfe - tallies.nfe)
        return self.grants(tallies, decided, left)

    def gain(self, tallies: Tallies, confidence: F64) -> F64:
        """Return the chance of a right answer that the next iteration of each puzzle is expected to add, (P,).

        (1 - confidence) times the rate a / (b + E) at which a puzzle that was not solved in E iterations is: the mean of a
        gamma distribution of rates over puzzles after E fruitless iterations.
        """
        known = self.calibration
        return np.asarray((1 - confidence) * known.solve_shape / (known.solve_scale + tallies.nfe), dtype=np.float64)

    def grants(self, tallies: Tallies, decided: I64, left: I64) -> Allocations:
        """Grant each puzzle that is not decided (P,) its next round out of `left` iterations (P,)."""
        owner, rows = tallies.owner, tallies.trajectories
        worth = self._worth_extending(tallies, owner) & (left > 0)[owner]
        depth = rows.depth.astype(np.int64)
        doubled = np.minimum(np.maximum(2 * depth, self.first_depth), self.depth)
        extend_to, left_over = extend(tallies, owner, worth, left, doubled)
        extended = np.bincount(owner[worth], minlength=len(tallies))
        grown = np.maximum((tallies.breadth * (self.growth - 1)).astype(np.int64), 1)
        wanted = np.where(tallies.breadth == 0, self.first_breadth, np.where(extended == 0, grown, 0))
        return settle(tallies, owner, self.budget, extend_to, left_over, wanted, self.first_depth, decided)

    def _worth_extending(self, tallies: Tallies, owner: I64) -> Bool:
        """Return which running rows settle right sooner than a new one would, or are all that is left to run, (T,)."""
        rows, known = tallies.trajectories, self.calibration
        log_depth = np.log(np.maximum(rows.depth, 1))
        slow = (
            known.extend_log_rate + known.extend_slope * log_depth
            < known.spawn_log_rate + known.spawn_slope * log_depth
        )
        stuck = (rows.depth >= self.patience) & (rows.residual > self.abandon_above)
        may_widen = (tallies.breadth < self.breadth)[owner]
        running = (rows.status == Status.RUNNING) & (rows.depth < self.depth)
        return np.asarray(running & ~((slow | stuck) & may_widen), dtype=np.bool_)


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
