"""Who works next, what is known, and what has been written down.

Invariants, asserted in tests/sim and tests/unit/coordinator: the verdicts of a run do not depend on the number of
replicas, the order of their reports, lost replicas or repeated reports; no clock, torch or Ray is in here.
"""

from eqr_ray.coordinator.coordinator import Coordinator
from eqr_ray.coordinator.counters import Counters, ReplicaCounters
from eqr_ray.coordinator.drive import drive_local
from eqr_ray.coordinator.ledger import Ledger
from eqr_ray.coordinator.seeds import trajectory_seeds

__all__ = ["Coordinator", "Counters", "Ledger", "ReplicaCounters", "drive_local", "trajectory_seeds"]
