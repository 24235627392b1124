from __future__ import annotations

from dataclasses import replace

import pytest

from eqr_ray.distributed.scaler import Prices, Scaler, Staff, Work
from eqr_ray.distributed.shares import Share

NOBODY = Staff(ready=0, starting=0, busy=0, nodes=0)
BEGINNING = Work(done=0, open=100, ordered=800, computed=0, left=1000.0)


class Autoscaler:
    """Notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, float]]] = []

    def __call__(self, bundles: list[dict[str, float]]) -> None:
        self.asked.append(bundles)


def test_it_measures_with_one_replica_then_asks_for_what_the_backlog_needs_and_withdraws_it():
    cluster = Autoscaler()
    scaler = Scaler(8, Share(1.0, 0.5, 1), cluster)
    scaler.observe(0.0, NOBODY)
    assert scaler.desired(0.0, NOBODY, BEGINNING) == 1
    one = Staff(1, 0, 1, 1)
    scaler.observe(50.0, one)
    assert scaler.desired(50.0, one, BEGINNING) == 1, "nothing came back yet"
    scaler.observe(60.0, one)
    # 60 iterations a puzzle, 6 a second: 950 left are 9,500 s of one replica's work.
    going = Work(done=50, open=100, ordered=800, computed=3000, left=950.0)
    scaler.observe(550.0, one)
    assert scaler.desired(550.0, one, going) == 8
    there = Staff(8, 0, 8, 4)
    scaler.observe(600.0, there)
    assert scaler.desired(600.0, there, going) == 8
    scaler.end()
    bundle = {"CPU": 1.0, "GPU": 0.5}
    assert cluster.asked == [[bundle], [], [bundle] * 8, []]


def test_busy_replicas_stay_and_idle_ones_go_when_little_is_left():
    scaler = Scaler(8, Share(1.0, 0.0, 1), Autoscaler())
    staff = Staff(ready=8, starting=0, busy=5, nodes=8)
    scaler.observe(0.0, staff)
    scaler.observe(100.0, staff)
    little = Work(done=1000, open=10, ordered=100, computed=100_000, left=10.0)
    assert scaler.desired(100.0, staff, little) == 5
    assert scaler.desired(100.0, replace(staff, busy=0), little) == 1
    assert scaler.desired(100.0, replace(staff, busy=0), replace(little, left=0.0)) == 0


def test_the_cost_is_that_of_replicas_and_machines_and_ends_the_run_at_the_cap():
    scaler = Scaler(4, Share(1.0, 0.0, 1), Autoscaler(), prices=Prices(replica=1.0, node=2.0), max_cost=10.0)
    staff = Staff(ready=4, starting=0, busy=4, nodes=2)
    scaler.observe(0.0, staff)
    scaler.observe(3600.0, staff)
    assert scaler.cost == pytest.approx(8.0)
    assert not scaler.over
    scaler.observe(5000.0, staff)
    assert scaler.over
    assert scaler.desired(5000.0, replace(staff, busy=0), replace(BEGINNING, done=1)) == 0
