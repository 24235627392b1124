"""Engines that compute no network: a policy or a cluster costs no device to try.

Invariant, asserted in tests/contract/test_sim_engine.py: the simulator passes the suite that every engine passes.
"""

from eqr_ray.sim.engine import SimEngine
from eqr_ray.sim.landscape import Landscape

__all__ = ["Landscape", "SimEngine"]
