"""The driver for one engine in this process.

Invariant, asserted in tests/unit/coordinator/test_drive.py: puzzles are read only as far as there is room for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from eqr_ray.coordinator.coordinator import Coordinator
from eqr_ray.types import Engine, Puzzle, Verdict

_REPLICA = "local"


def drive_local(coordinator: Coordinator, engine: Engine, puzzles: Iterable[Puzzle]) -> Iterator[Verdict]:
    """Yield the verdict of every puzzle as it is reached; the engine is fresh and the coordinator has no other
    replica."""
    source = iter(puzzles)
    coordinator.join(_REPLICA)
    while True:
        room = coordinator.room
        admitted = list(islice(source, room))
        coordinator.submit(admitted)
        if len(admitted) < room:
            coordinator.end_input()
        orders = coordinator.next_slice(_REPLICA)
        if orders is None:
            if coordinator.done:
                break
            raise RuntimeError("puzzles are open and no work is left for them")
        yield from coordinator.on_result(engine.run(orders))
    coordinator.leave(_REPLICA)
