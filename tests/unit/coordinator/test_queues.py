from __future__ import annotations

import numpy as np

from eqr_ray.coordinator.queues import RowQueue


def test_rows_come_out_once_in_the_order_they_went_in() -> None:
    queue = RowQueue()
    queue.push(np.array([1, 2, 3]))
    queue.push(np.array([], np.int64))
    queue.push(np.array([4, 5]))
    assert len(queue) == 5
    assert queue.pop(2).tolist() == [1, 2]
    assert queue.pop(2).tolist() == [3, 4]
    assert queue.pop(9).tolist() == [5]
    assert (len(queue), queue.pop(1).tolist()) == (0, [])


def test_popping_nothing_takes_nothing() -> None:
    queue = RowQueue()
    queue.push(np.array([1]))
    assert queue.pop(0).tolist() == []
    assert len(queue) == 1
