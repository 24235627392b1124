"""Halting, voting and allocation: values in, values out.

Invariants, asserted in tests/contract and tests/unit/policy: a decision about a puzzle depends on nothing but that
puzzle's tally; no policy grants more than its budget; nothing here knows of time, files, ray or torch.
"""

from eqr_ray.policy.adaptive import Adaptive
from eqr_ray.policy.fixed import Fixed
from eqr_ray.policy.protocol import Ballots, Choices, Policy, check_allocations
from eqr_ray.policy.registry import DEFAULT_POLICY, PolicySpec, policy_from, policy_names, spec_of

__all__ = [
    "DEFAULT_POLICY",
    "Adaptive",
    "Ballots",
    "Choices",
    "Fixed",
    "Policy",
    "PolicySpec",
    "check_allocations",
    "policy_from",
    "policy_names",
    "spec_of",
]
