"""How right an answer is: the only room that looks at labels.

Invariants, asserted in tests/unit/evaluation/test_scoring.py: an undefined share is None, never 0; the Wilson interval holds the share
and stays within [0, 1]; the oracle is right whenever any selection rule is right; pass@k with fewer than k samples is undefined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from eqr_ray.types import U8, Verdict, Vote

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution: a two-sided interval of 95 %."""


def share(right: int, total: int) -> float | None:
    """Return right / total, None for a total of 0."""
    return right / total if total else None


def wilson(right: int, total: int, z: float = Z95) -> tuple[float, float] | None:
    """Return the score interval of a proportion, None for a total of 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), the interval of equation (2)
    in Brown, Cai, DasGupta, Statistical Science 16 (2001): it keeps its coverage near 0 and 1, where accuracies live.
    """
    if not total:
        return None
    p = right / total
    scale = 1 + z * z / total
    middle = (p + z * z / (2 * total)) / scale
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale
    low = 0.0 if right == 0 else max(0.0, middle - half)
    high = 1.0 if right == total else min(1.0, middle + half)
    return low, high


def pass_at(k: int, samples: int, right: int) -> float | None:
    """Return the chance that at least one of k trajectories drawn from `samples` is right; None with fewer than k.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al., arXiv 2107.03374, equation (1).
    """
    if samples < k:
        return None
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


@dataclass(frozen=True, slots=True)
class BallotScore:
    """What each selection rule would have scored on one ballot; all of it needs the label."""

    any_correct: bool
    """Oracle: the right answer is on the ballot at all."""
    majority_exact: bool
    """The answer with the most voters is right; ties go to the greater weight, then to the smaller residual."""
    top1_residual_exact: bool
    """The answer of the trajectory with the smallest latent residual is right."""
    top1_logit_exact: bool
    """The answer of the trajectory whose logits changed least is right."""
    correct_votes: int
    """Voting trajectories that were right: c of pass@k with n = breadth."""


def score_ballot(verdict: Verdict, is_right: Callable[[U8], bool]) -> BallotScore:
    """Score every selection rule on the ballot of a verdict; without a ballot the verdict's own answer stands for all."""
    if not verdict.ballot:
        right = is_right(verdict.answer)
        return BallotScore(right, right, right, right, verdict.votes if right else 0)
    right_keys = {vote.answer_key for vote in verdict.ballot if is_right(vote.answer)}

    def wins(rank: Callable[[Vote], tuple[float, ...]]) -> bool:
        return min(verdict.ballot, key=rank).answer_key in right_keys

    return BallotScore(
        any_correct=bool(right_keys),
        majority_exact=wins(lambda vote: (-vote.count, -vote.weight, vote.best_residual)),
        top1_residual_exact=wins(lambda vote: (vote.best_residual,)),
        top1_logit_exact=wins(lambda vote: (vote.best_logit_delta,)),
        correct_votes=sum(vote.count for vote in verdict.ballot if vote.answer_key in right_keys),
    )
