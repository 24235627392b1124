"""Which trajectories vote, and how their votes choose an answer.

Invariants, asserted in tests/unit/policy/test_voting.py: a diverged trajectory never votes; an answer that somebody
voted for beats one that nobody did; the order of ballots is total, so equal tallies give equal choices; the weights of
a puzzle add up to at most 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from eqr_ray.policy.protocol import Ballots, Choices
from eqr_ray.types import F32, F64, I64, U64, Bool, Status, Tallies, Trajectories

ALTERNATIVES = 8
"""K, wrong answers among which a mistaken vote is taken to fall evenly. More makes agreement between two votes count
for more; spurious attractors shared by many trajectories argue for fewer."""
MOST_EVIDENCE = 4.6
"""Bound on |log odds| that one vote may contribute, 0.99 against 0.01: the q head is not calibrated, so no single vote
is trusted further."""


class Selection(StrEnum):
    """How the answer is chosen among those voted for."""

    MAJORITY = "majority"
    """The mode of the decoded answers."""
    TOP1_RESIDUAL = "top1_residual"
    """The answer of the trajectory with the smallest latent residual (arXiv 2605.21488, Top-1 converged)."""
    TOP1_LOGIT = "top1_logit"
    """The answer of the trajectory whose logits change least."""
    TOPK = "topk"
    """The mode among the k trajectories with the smallest residual."""
    POSTERIOR = "posterior"
    """The answer with the largest posterior mass."""


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Candidate rows grouped by (puzzle, answer); K groups in the order of puzzle, then key."""

    rows: I64
    """(C,) rows of the tallies, sorted by puzzle, then key."""
    first: I64
    """(K,) position in `rows` at which each group starts."""
    group: I64
    """(C,) the group of each of `rows`."""
    owner: I64
    """(K,) position of the puzzle."""
    key: U64
    """(K,)"""


def settled(rows: Trajectories) -> Bool:
    """Return which rows the halting rule stopped, (N,)."""
    return np.asarray((rows.status == Status.CONVERGED) | (rows.status == Status.Q_HALTED), dtype=np.bool_)


def undiverged(rows: Trajectories) -> Bool:
    """Return which rows are finite, (N,)."""
    return np.asarray(rows.status != Status.DIVERGED, dtype=np.bool_)


def leader_and_runner_up(owner: I64, key: U64, n_puzzles: int) -> tuple[I64, I64]:
    """Return the votes of the most and of the second most frequent answer of each puzzle, (P,) each; owner and key are
    (N,) votes."""
    order = np.lexsort((key, owner))
    owner, key = owner[order], key[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (key[1:] != key[:-1])
    first = np.flatnonzero(new)
    count = np.diff(np.append(first, len(order)))
    ranked = np.lexsort((-count, owner[first]))
    count, holder = count[ranked], owner[first][ranked]
    place = np.arange(len(holder)) - np.searchsorted(holder, holder)
    leader, runner_up = np.zeros(n_puzzles, np.int64), np.zeros(n_puzzles, np.int64)
    leader[holder[place == 0]] = count[place == 0]
    runner_up[holder[place == 1]] = count[place == 1]
    return leader, runner_up


def choose(tallies: Tallies, voters: Bool, selection: Selection, k: int = 1, trust: F64 | None = None) -> Choices:
    """Choose the answer of every puzzle by one rule.

    voters: (T,) which trajectories may vote; diverged ones never do. k: how many rows `topk` looks at. trust: (T,)
    calibrated log odds that each trajectory is right; the bounded halting logit if left out. Where nobody can vote, the
    answer of the lowest residual is chosen with votes 0. Raises ValueError for a puzzle without a trajectory.
    """
    if (tallies.breadth == 0).any():
        raise ValueError("every puzzle needs a trajectory before an answer can be chosen")
    rows, owner = tallies.trajectories, tallies.owner
    voters = voters & undiverged(rows)
    residual = np.where(np.isnan(rows.residual), np.float32(np.inf), rows.residual)
    logit_delta = np.where(np.isnan(rows.logit_delta), np.float32(np.inf), rows.logit_delta)
    groups = _group(tallies, owner)
    count = _sum(groups, voters)
    best_residual = np.minimum.reduceat(residual[groups.rows], groups.first)
    best_logit_delta = np.minimum.reduceat(logit_delta[groups.rows], groups.first)
    weight = _posterior(groups, voters, bounded(rows.q_halt) if trust is None else trust, len(tallies))
    score: F64
    match selection:
        case Selection.MAJORITY:
            score = count
        case Selection.TOP1_RESIDUAL:
            score = -best_residual.astype(np.float64)
        case Selection.TOP1_LOGIT:
            score = -best_logit_delta.astype(np.float64)
        case Selection.TOPK:
            score = _sum(groups, _smallest(voters, residual, owner, len(tallies), k))
        case Selection.POSTERIOR:
            score = weight
    order = np.lexsort((groups.key, best_residual, -score, count == 0, groups.owner))
    counted = count.astype(np.int64)
    ballots = Ballots(groups.key[order], counted[order], weight[order], best_residual[order], best_logit_delta[order])
    n_ballots = np.bincount(groups.owner, minlength=len(tallies))
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_ballots)])
    chosen = start[:-1]
    key, confidence, votes = ballots.answer_key[chosen], ballots.weight[chosen], ballots.count[chosen]
    return Choices(tallies.puzzle, key, confidence, votes, start, ballots)


def _group(tallies: Tallies, owner: I64) -> _Groups:
    rows = tallies.trajectories
    finite = undiverged(rows)
    # A puzzle whose every trajectory diverged still owes an answer, so there its rows stay candidates.
    candidate = finite | (np.bincount(owner[finite], minlength=len(tallies)) == 0)[owner]
    picked = np.flatnonzero(candidate)
    order = picked[np.lexsort((rows.answer_key[picked], owner[picked]))]
    who, key = owner[order], rows.answer_key[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (who[1:] != who[:-1]) | (key[1:] != key[:-1])
    first = np.flatnonzero(new)
    return _Groups(order, first, np.cumsum(new) - 1, who[first], key[first])


def _sum(groups: _Groups, values: Bool | F64) -> F64:
    totals = np.bincount(groups.group, weights=values[groups.rows].astype(np.float64), minlength=len(groups.first))
    return np.asarray(totals, dtype=np.float64)


def _smallest(voters: Bool, residual: F32, owner: I64, n_puzzles: int, k: int) -> Bool:
    """Return the k voters of each puzzle with the smallest residual; ties go to the lower index."""
    picked = np.flatnonzero(voters)
    order = picked[np.lexsort((residual[picked], owner[picked]))]
    n_voters = np.bincount(owner[order], minlength=n_puzzles)
    place = np.arange(len(order)) - np.repeat(np.cumsum(n_voters) - n_voters, n_voters)
    chosen = np.zeros(len(voters), np.bool_)
    chosen[order[place < k]] = True
    return chosen


def bounded(q_halt: F32) -> F64:
    """Return the halting logit as log odds that one vote may contribute, (N,)."""
    return np.clip(np.nan_to_num(q_halt.astype(np.float64), nan=-MOST_EVIDENCE), -MOST_EVIDENCE, MOST_EVIDENCE)


def _posterior(groups: _Groups, voters: Bool, trust: F64, n_puzzles: int) -> F64:
    """Return the posterior mass of every group, after CGES (arXiv 2511.02603), (K,).

    One of K + 1 answers is right, none more likely beforehand. A vote with c = sigmoid(trust) names the right one with
    probability c and each other one with (1 - c) / K, so against an answer without votes it multiplies the odds of its
    own by c K / (1 - c): its log is trust + log K. One vote alone therefore gives its answer exactly the mass c.
    """
    n_ballots = np.bincount(groups.owner, minlength=n_puzzles)
    alternatives = np.maximum(ALTERNATIVES, n_ballots).astype(np.float64)
    evidence = _sum(groups, np.where(voters, trust, 0.0)) + _sum(groups, voters) * np.log(alternatives)[groups.owner]
    top = np.zeros(n_puzzles)
    np.maximum.at(top, groups.owner, evidence)
    mass = np.exp(evidence - top[groups.owner])
    # bincount adds one after the other, so that a puzzle's sum does not depend on its neighbours.
    total = np.bincount(groups.owner, weights=mass, minlength=n_puzzles) + (alternatives + 1 - n_ballots) * np.exp(-top)
    return np.asarray(mass / total[groups.owner], dtype=np.float64)
