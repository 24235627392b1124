"""Which parameters a study may change, and within which bounds.

Invariants, asserted in tests/unit/tuning/test_space.py: every suggestion builds a policy that fits the trace; a known policy
maps to a point of the space and back; a changed space changes its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import optuna

from eqr_ray.policy import Calibration, PolicySpec
from eqr_ray.types import InputError

Choice = int | float | str
FALL_BACK = Calibration()


@dataclass(frozen=True, slots=True)
class Dimension:
    """One parameter."""

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False


def _halting() -> tuple[Dimension, ...]:
    return (
        Dimension("residual_below", 0.005, 0.6, log=True),
        Dimension("q_halt_above", -2.0, 6.0),
        Dimension("stable_for", 1, 4, whole=True),
    )


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters of some kinds of policy on a trace of depth D and breadth B."""

    kinds: tuple[str, ...]
    depth: int
    breadth: int
    vary: tuple[str, ...] = ()
    """The parameters that are tried, all where empty; the others keep the defaults of their kind, D and B those of the trace."""

    def __post_init__(self) -> None:
        known = {axis.name for kind in self.kinds for axis in self._all(kind)}
        if unknown := [name for name in self.vary if name not in known]:
            raise InputError(
                f"vary: {', '.join(self.kinds)} has no {', '.join(unknown)}; choose from {', '.join(sorted(known))}"
            )

    @property
    def tried(self) -> tuple[str, ...]:
        """The kinds that have something to try: every trial of another would be the same."""
        return tuple(kind for kind in self.kinds if self.dimensions(kind))

    def dimensions(self, kind: str) -> tuple[Dimension, ...]:
        """Return the parameters of a kind that are tried."""
        return tuple(axis for axis in self._all(kind) if not self.vary or axis.name in self.vary)

    def _all(self, kind: str) -> tuple[Dimension, ...]:
        least = min(4, self.depth)
        budget = (
            Dimension("depth", least, self.depth, log=True, whole=True),
            Dimension("breadth", 1, self.breadth, log=True, whole=True),
        )
        first = Dimension("first_depth", least, self.depth, log=True, whole=True)
        growth = Dimension("growth", 1.0, 3.0)
        own: dict[str, tuple[Dimension, ...]] = {
            "fixed": (),
            "adaptive": (
                first, growth, Dimension("accept_q", 0.0, 8.0), Dimension("agree", 1, 5, whole=True),
                Dimension("widen_after", 4, 64, log=True, whole=True), Dimension("patience", 4, 128, log=True, whole=True), *_halting(),
            ),
            "agreement": (Dimension("agree", 1, 5, whole=True), Dimension("window", 1, 4, whole=True), *_halting()),
            "adaptive_consistency": (Dimension("sure", 0.6, 0.99), Dimension("window", 1, 4, whole=True), *_halting()),
            "bayes_factor": (Dimension("factor", 1.5, 100.0, log=True), Dimension("window", 1, 4, whole=True), *_halting()),
            "posterior": (
                Dimension("delta", 1e-4, 0.5, log=True), Dimension("price", 1e-5, 0.05, log=True), first, growth,
                Dimension("deepen", 1.2, 4.0), *_halting(),
            ),
        }  # fmt: skip
        own["pool"] = (
            Dimension("mean", 4, max(self.depth * self.breadth // 4, 8), log=True, whole=True),
            Dimension("haste", 0.05, 1.0, log=True),
            *own["posterior"][2:],
        )
        return (*budget, *own[kind])

    def suggest(self, trial: optuna.Trial) -> PolicySpec:
        """Return the policy of a trial."""
        kind = trial.suggest_categorical("kind", list(self.tried))
        values: dict[str, Choice] = {}
        for axis in self.dimensions(kind):
            key = f"{kind}.{axis.name}"
            if axis.whole:
                values[axis.name] = trial.suggest_int(key, int(axis.low), int(axis.high), log=axis.log)
            else:
                values[axis.name] = trial.suggest_float(key, axis.low, axis.high, log=axis.log)
        depth, breadth = int(values.pop("depth", self.depth)), int(values.pop("breadth", self.breadth))
        return PolicySpec(kind, depth, breadth, depth * breadth, values)

    def point(self, spec: PolicySpec) -> dict[str, Choice] | None:
        """Return where a policy lies in the space, its values cut to the bounds; None for a kind that is not tried."""
        policy = spec.build()
        if policy.name not in self.tried:
            return None
        found: dict[str, Choice] = {"kind": policy.name}
        for axis in self.dimensions(policy.name):
            # What a policy leaves to the checkpoint begins at its fall-back.
            own = getattr(policy, axis.name)
            own = getattr(FALL_BACK, axis.name) if own is None else own
            value = min(max(float(own), axis.low), axis.high)
            found[f"{policy.name}.{axis.name}"] = round(value) if axis.whole else value
        return found

    def starts(self, names: Sequence[str]) -> list[dict[str, Choice]]:
        """Return the points of known policies: where a study begins."""
        points = []
        for name in names:
            point = self.point(PolicySpec(name))
            if point is not None and point not in points:
                points.append(point)
        return points

    def digest(self) -> str:
        """Return a short digest of every bound: trials of different spaces do not mix."""
        text = json.dumps([[kind, [asdict(axis) for axis in self.dimensions(kind)]] for kind in self.tried])
        return hashlib.sha256(text.encode()).hexdigest()[:12]
