"""Policies by name: building one from what a user wrote, and writing down what was built.

Invariants, asserted in tests/unit/policy/test_registry.py: an unknown name or key is refused and the nearest known one
named; a spec survives JSON and builds an equal policy; a budget that the user gives is kept as given.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from eqr_ray.policy.adaptive import Adaptive
from eqr_ray.policy.calibration import Calibration
from eqr_ray.policy.fixed import Fixed
from eqr_ray.policy.pool import Pool
from eqr_ray.policy.posterior import Posterior
from eqr_ray.policy.protocol import Policy
from eqr_ray.policy.sequential import AdaptiveConsistency, Agreement, BayesFactor
from eqr_ray.policy.shipped import SHIPPED
from eqr_ray.types import InputError

Value = int | float | str | None
"""What a policy's parameter may be."""

_Known = Adaptive | AdaptiveConsistency | Agreement | BayesFactor | Fixed | Pool | Posterior
_CLASSES: dict[str, type[_Known]] = {
    own.name: own for own in (Adaptive, AdaptiveConsistency, Agreement, BayesFactor, Fixed, Pool, Posterior)
}
_BUDGET_KEYS = {"depth", "breadth", "nfe"}
DEFAULT_POLICY = "balanced"
"""What runs when nobody says otherwise: adaptive spending at a price an iteration, with what the checkpoint's calibration knows."""
DEFAULT_NFE = {"adaptive": 1024}
"""Cap for a user who gives no budget at all: four full depths of the default 256. Most puzzles need far less; it bounds
what the few without any correct attractor can burn."""


@dataclass(frozen=True)
class PolicySpec:
    """A policy as it stands in a configuration: JSON values only."""

    name: str = DEFAULT_POLICY
    depth: int | None = None
    breadth: int | None = None
    nfe: int | None = None
    params: Mapping[str, Value] = field(default_factory=dict)
    """The policy's own parameters, some or all; see the fields of its class."""

    def build(self) -> Policy:
        """Return the policy; raises InputError as `policy_from` does."""
        return policy_from(self.name, self.depth, self.breadth, self.nfe, **self.params)

    def within(self, depth: int, breadth: int, nfe: int) -> PolicySpec:
        """Return the same with another budget."""
        return dataclasses.replace(self, depth=depth, breadth=breadth, nfe=nfe)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object with the keys above; infinities become the strings `inf` and `-inf`, which JSON
        lacks."""
        finite = {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in self.params.items()}
        return {"name": self.name, "depth": self.depth, "breadth": self.breadth, "nfe": self.nfe, "params": finite}


def policy_names() -> tuple[str, ...]:
    """Return the names of the kinds of policy that `policy_from` knows."""
    return tuple(sorted(_CLASSES))


def shipped_policies() -> tuple[str, ...]:
    """Return the names of tuned policies that `policy_from` knows beside the kinds."""
    return tuple(SHIPPED)


def reads_calibration(policy: Policy) -> bool:
    """Whether the policy decides by what was measured of a checkpoint."""
    return isinstance(policy, Posterior)


def calibrated(policy: Policy, calibration: Calibration | None) -> Policy:
    """Return the policy with a checkpoint's calibration in the place of what it leaves out.

    A policy that reads none, or that states its own numbers, is returned as it is.
    """
    if calibration is None or not isinstance(policy, Posterior):
        return policy
    open_ = {name: value for name, value in calibration.as_dict().items() if getattr(policy, name) is None}
    return dataclasses.replace(policy, **open_)  # type: ignore[arg-type]


def policy_from(
    name: str = DEFAULT_POLICY, depth: Value = None, breadth: Value = None, nfe: Value = None, **params: Value
) -> Policy:
    """Build a policy; a value left out or None takes the policy's default.

    Without any of depth, breadth and nfe the cap is `DEFAULT_NFE`; with one of them it is what they allow. Raises
    InputError for an unknown name or key, a value of the wrong type, and a budget that cannot be kept.
    """
    if name in SHIPPED:
        kind, own = SHIPPED[name]
        whole = {"depth": depth, "breadth": breadth, "nfe": nfe, **params}
        over = {key: value for key, value in whole.items() if value is not None}
        if over.keys() & {"depth", "breadth"} and "nfe" not in over:
            own = {key: value for key, value in own.items() if key != "nfe"}
        return policy_from(kind, **{**own, **over})
    if name not in _CLASSES:
        known = (*policy_names(), *SHIPPED)
        raise InputError(f"policy must be one of {', '.join(known)}, got {name!r}{_nearest(name, known)}.")
    policy_class = _CLASSES[name]
    kinds = {f.name: str(f.type) for f in dataclasses.fields(policy_class)}
    given = {"depth": depth, "breadth": breadth, "nfe": nfe, **params}
    for key in given:
        if key not in kinds:
            raise InputError(
                f"policy {name} has no parameter {key!r}{_nearest(key, kinds)}; it has {', '.join(kinds)}."
            )
    values = {key: _convert(name, key, kinds[key], value) for key, value in given.items() if value is not None}
    if not _BUDGET_KEYS & values.keys() and name in DEFAULT_NFE:
        values["nfe"] = DEFAULT_NFE[name]
    try:
        return policy_class(**values)  # type: ignore[arg-type]
    except ValueError as problem:
        raise InputError(f"policy {name}: {problem}; change that value.") from None


def spec_of(policy: Policy) -> PolicySpec:
    """Return the spec that builds this policy again, every parameter written out."""
    if not isinstance(policy, _Known):
        raise ValueError(f"only a policy of the registry has a spec, got {type(policy).__name__}")
    budget = policy.budget
    own = {key: value for key, value in dataclasses.asdict(policy).items() if key not in _BUDGET_KEYS}
    return PolicySpec(policy.name, budget.depth, budget.breadth, budget.nfe, own)


def _convert(name: str, key: str, kind: str, value: Value) -> Value:
    wanted = kind.split(" |")[0]
    try:
        if wanted == "str":
            return str(value)
        if isinstance(value, bool):
            raise ValueError
        number = float(value)  # type: ignore[arg-type]
        if wanted == "float":
            return number
        if number != int(number):
            raise ValueError
        return int(number)
    except (TypeError, ValueError, OverflowError):
        article = "a whole number" if wanted == "int" else "a number"
        raise InputError(f"policy {name}: {key} must be {article}, got {key}={value!r}; change that value.") from None


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; the nearest is {close[0]!r}" if close else ""
