from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eqr_ray.policy import policy_from
from eqr_ray.runs.simulate import forecast, forecast_in_bulk
from eqr_ray.sim import Landscape
from eqr_ray.sim.cluster import Cluster
from eqr_ray.sim.flow import stages_of
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Playback
from eqr_ray.sim.replay import replay as play_all
from eqr_ray.types import InputError

TRACE = made_trace(90, 128, 6, Landscape(hard_depth=20.0))
POLICY = policy_from("adaptive", depth=128, breadth=6)
STEADY = Cluster(replicas=6, iterations_per_s=500.0, speed_spread=0.02, first_rows=16)


def test_stages_add_up_to_what_the_policy_grants() -> None:
    stages, whole = stages_of(TRACE, POLICY), play_all(POLICY, Playback(TRACE))
    nfe = np.add.reduceat(stages.iterations, stages.first)
    assert nfe.tolist() == whole.nfe.tolist()
    assert int(stages.ends.sum()) == len(TRACE)
    assert not stages.stays[stages.first].any()
    assert (stages.iterations <= 64 * stages.rows).all()


@pytest.mark.parametrize("replicas", [1, 6])
def test_the_flow_takes_as_long_as_the_real_coordinator_s_work(replicas: int) -> None:
    cluster = replace(STEADY, replicas=replicas)
    bulk = forecast_in_bulk(TRACE, POLICY, cluster, 2000, 64)
    real = forecast(TRACE, POLICY, cluster, 2000, 64)
    assert (bulk.puzzles, bulk.nfe_mean, bulk.exact_accuracy) == (2000, real.nfe_mean, real.exact_accuracy)
    assert bulk.wall_s == pytest.approx(real.wall_s, rel=0.05)
    assert bulk.busy_share == pytest.approx(real.busy_share, rel=0.05)


def test_what_the_flow_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="knows no preemption"):
        forecast_in_bulk(TRACE, POLICY, replace(STEADY, preemptions_per_hour=1.0), 100)
    with pytest.raises(InputError, match="moves its budget between puzzles"):
        forecast_in_bulk(TRACE, policy_from("pool", depth=64, breadth=4), STEADY, 100)
