from __future__ import annotations

import pytest

from eqr_ray.policy import policy_from
from eqr_ray.runs.rehearsal import rehearse
from eqr_ray.sim import Landscape
from eqr_ray.sim.cluster import Cluster
from eqr_ray.sim.made import made_trace

pytestmark = pytest.mark.usefixtures("one_node")


def test_a_run_in_earnest_is_charged_what_was_foretold() -> None:
    trace = made_trace(60, 32, 4, Landscape(hard_depth=10.0))
    policy = policy_from("adaptive", depth=32, breadth=4)
    found = rehearse(trace, policy, Cluster(replicas=2, iterations_per_s=400.0, first_rows=4), "auto")
    assert found.puzzles == 60
    assert found.same_cost
    # A loaded machine only adds time; `eqr-ray bench simulate` is where the two clocks are compared.
    assert found.real_s > 0.5 * found.forecast_s
