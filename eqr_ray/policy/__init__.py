"""Halting, voting and allocation: values in, values out.

Invariants, asserted in tests/contract and tests/unit/policy: a decision about a puzzle depends on nothing but that
puzzle's tally; no policy grants more than its budget; nothing here knows of time, files, ray or torch.
"""

from eqr_ray.policy.adaptive import Adaptive
from eqr_ray.policy.calibration import Calibration
from eqr_ray.policy.fixed import Fixed
from eqr_ray.policy.pool import Pool
from eqr_ray.policy.posterior import Posterior
from eqr_ray.policy.protocol import Ballots, Choices, Policy, PoolPolicy, check_allocations
from eqr_ray.policy.registry import (
    DEFAULT_POLICY,
    PolicySpec,
    calibrated,
    policy_from,
    policy_names,
    reads_calibration,
    shipped_policies,
    spec_of,
)
from eqr_ray.policy.sequential import AdaptiveConsistency, Agreement, BayesFactor

__all__ = [
    "DEFAULT_POLICY",
    "Adaptive",
    "AdaptiveConsistency",
    "Agreement",
    "Ballots",
    "BayesFactor",
    "Calibration",
    "Choices",
    "Fixed",
    "Policy",
    "PolicySpec",
    "Pool",
    "PoolPolicy",
    "Posterior",
    "calibrated",
    "check_allocations",
    "policy_from",
    "policy_names",
    "reads_calibration",
    "shipped_policies",
    "spec_of",
]
