"""Does an evaluation survive? A seeded schedule of disasters on real nodes, and the verdicts compared with those of a quiet run.

The evaluation runs in processes of its own, which are killed, stopped and resumed like everything else; its engine is the simulator,
slowed down. Invariants, asserted in tests/ray_local/test_chaos.py: the schedule is a function of the seed; whatever happens, there is
exactly one verdict a puzzle, each bit for bit that of the quiet run, and no actor or process is left.

`python -m eqr_ray.runs.chaos OUT PUZZLES ADDRESS LETHAL` is one session of such an evaluation.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eqr_ray.sim.engine import SimEngine
from eqr_ray.types import Engine, Slice, SliceResult

if TYPE_CHECKING:
    from eqr_ray.distributed.machines import Actor, Machines

ROW_S = 0.012
"""What a row takes: a run of seconds, into which disasters fall."""
DEPTH, BREADTH = 32, 8
SESSION_S = 300.0
"""A session that takes longer hangs."""
STOPPED = 130


class Disaster(StrEnum):
    """What happens."""

    REPLICA_KILLED = "replica killed"
    NODE_KILLED = "node killed"
    NODE_DRAINED = "node drained, then killed"
    NODE_JOINS = "node joins"
    REPLICA_STALLS = "replica stalls"
    DRIVER_KILLED = "driver killed"
    DRIVER_STOPPED = "driver stopped"


@dataclass(frozen=True, slots=True)
class Event:
    """One disaster."""

    after_s: float
    """Since the one before, or since the first replica was there."""
    disaster: Disaster
    draw: int
    """Chooses whom it hits."""


def schedule(seed: int) -> tuple[tuple[Event, ...], bool]:
    """Return the events of a seed, and whether one of the puzzles kills its replicas; seven seeds in a row begin with each disaster."""
    rng = np.random.default_rng(seed)
    kinds = list(Disaster)
    chosen = [
        kinds[seed % len(kinds)],
        *(kinds[int(k)] for k in rng.integers(len(kinds), size=int(rng.integers(2, 5)))),
    ]
    events = tuple(Event(float(rng.uniform(0.3, 2.5)), kind, int(rng.integers(2**31))) for kind in chosen)
    return events, seed % 5 == 4


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    happened: list[str] = field(default_factory=list)
    sessions: int = 0
    wall_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    """Empty when the run survived."""


@dataclass(frozen=True)
class SlowSimulator:
    """Builds simulators that take their time, and whose process dies of one question."""

    row_s: float
    lethal: bytes = b""
    """Encoded cells; empty for none."""

    def __call__(self) -> Engine:
        """Build one."""
        return _Slow(self)


class _Slow:
    device = "simulator"

    def __init__(self, plan: SlowSimulator) -> None:
        self._plan, self._inner = plan, SimEngine()
        self._deadly: set[int] = set()

    def run(self, orders: Slice) -> SliceResult:
        self._deadly |= {n for n, cells in orders.cells.items() if cells.tobytes() == self._plan.lethal}
        if self._deadly.intersection(orders.puzzle.tolist()):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._plan.row_s * len(orders))
        return self._inner.run(orders)


Rows = dict[str, dict[str, object]]


def quiet_run(out: Path, puzzles: str, machines: Machines, lethal: bytes = b"") -> Rows:
    """Evaluate undisturbed and return the verdicts by id."""
    session = _Session(out, puzzles, machines.address, lethal)
    if session.wait(SESSION_S) != 0:
        raise RuntimeError(f"the quiet run failed: {session.said()}")
    return {str(row["puzzle_id"]): row for row in read_rows(out)}


def survive(seed: int, out: Path, puzzles: str, machines: Machines, expected: Rows, lethal: bytes = b"") -> Outcome:
    """Evaluate while the disasters of a seed happen; `machines` has as many nodes afterwards as before.

    expected: of a quiet run with the same `lethal` puzzle.
    """
    events, _ = schedule(seed)
    play = _Play(Outcome(seed), _Session(out, puzzles, machines.address, lethal), machines)
    started = time.monotonic()
    try:
        play.run(events)
    finally:
        play.end()
    outcome = play.outcome
    outcome.wall_s = time.monotonic() - started
    rows = read_rows(out)
    ids = [str(row["puzzle_id"]) for row in rows]
    if len(ids) != len(set(ids)):
        outcome.problems.append(f"{len(ids) - len(set(ids))} verdicts are there twice")
    found: Rows = dict(zip(ids, rows, strict=True))
    if found.keys() != expected.keys():
        outcome.problems.append(f"{len(expected.keys() - found.keys())} puzzles have no verdict")
    different = [key for key in found.keys() & expected.keys() if found[key] != expected[key]]
    if different:
        outcome.problems.append(f"{len(different)} verdicts differ, {different[0]} for one")
    outcome.problems += [f"left behind: {what}" for what in play.left_behind()]
    return outcome


def read_rows(out: Path) -> list[dict[str, object]]:
    """Return every verdict row of a run's folder."""
    import pyarrow.parquet as pq

    parts = sorted((out / "verdicts").rglob("part-*.parquet"))
    return [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]


class _Session:
    """One process that evaluates, and those that go on with its folder after it."""

    def __init__(self, out: Path, puzzles: str, address: str, lethal: bytes) -> None:
        self._command = [sys.executable, "-m", "eqr_ray.runs.chaos", str(out), puzzles, address, lethal.hex() or "-"]
        self._log = out.with_name(out.name + ".log")
        self.n = 0
        self.start()

    def start(self) -> None:
        self.n += 1
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, within_s: float) -> int | None:
        """Return the exit status, None if it goes on for longer than that."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-1500:]


class _Play:
    def __init__(self, outcome: Outcome, session: _Session, machines: Machines) -> None:
        self.outcome, self._session, self._machines = outcome, session, machines
        self._before = {actor.pid for actor in machines.actors()}
        self._n_nodes = len(machines.nodes)
        self._seen: set[int] = set()
        self._stalled: list[tuple[int, float]] = []
        self._doomed: list[tuple[object, float]] = []

    def run(self, events: tuple[Event, ...]) -> None:
        deadline = time.monotonic() + SESSION_S
        for event in events:
            self._wait(deadline, until=None)
            self._wait(deadline, until=time.monotonic() + event.after_s)
            if self._session.process.poll() is None:
                self._strike(event)
        while (status := self._session.process.poll()) is None or status != 0:
            if status is not None and not self._resume(status):
                return
            if time.monotonic() > deadline:
                self.outcome.problems.append(f"the run hangs: {self._session.said()}")
                return
            self._tend()
        self.outcome.sessions = self._session.n

    def end(self) -> None:
        """Let the stalled go on, end the session and bring the nodes back to their number."""
        self.outcome.sessions = self._session.n
        self._tend(all_of_it=True)
        if self._session.process.poll() is None:
            self._session.process.kill()
            self._session.process.wait()
        while len(self._machines.nodes) > self._n_nodes:
            self._machines.kill(self._machines.nodes[0])
        while len(self._machines.nodes) < self._n_nodes:
            self._machines.add()

    def left_behind(self, within_s: float = 60.0) -> list[str]:
        """Return the actors and replica processes of the run that do not go."""
        ends = time.monotonic() + within_s
        while True:
            living = [actor.name for actor in self._own() if actor.alive]
            processes = [f"process {pid}" for pid in sorted(self._seen) if _is_replica(pid)]
            if not (living or processes) or time.monotonic() > ends:
                return living + processes
            time.sleep(0.3)

    def _own(self) -> list[Actor]:
        return [actor for actor in self._machines.actors() if actor.pid not in self._before]

    def _replicas(self) -> list[Actor]:
        """Return the living replicas in a fixed order."""
        living = sorted((actor for actor in self._own() if actor.alive and actor.pid), key=lambda actor: actor.pid)
        self._seen |= {actor.pid for actor in living}
        return living

    def _wait(self, deadline: float, until: float | None) -> None:
        """Wait until a time, or, without one, until a replica is there; a session that ended early ends the wait."""
        while time.monotonic() < deadline:
            status = self._session.process.poll()
            if status == 0 or (status is not None and not self._resume(status)):
                return
            self._tend()
            if (until is None and self._replicas()) or (until is not None and time.monotonic() >= until):
                return

    def _resume(self, status: int) -> bool:
        """Go on with a session that was killed or stopped, in its last moment too; False for one that failed."""
        if status not in (-signal.SIGKILL, -signal.SIGTERM, STOPPED):
            self.outcome.problems.append(f"a session ended with {status}: {self._session.said()}")
            return False
        self._session.start()
        return True

    def _tend(self, all_of_it: bool = False) -> None:
        """Let go on what was stalled for long enough, and take away what was drained."""
        time.sleep(0.1)
        now = time.monotonic()
        for pid, until in [entry for entry in self._stalled if all_of_it or now >= entry[1]]:
            self._stalled.remove((pid, until))
            _signal(pid, signal.SIGCONT)
        for node, until in [entry for entry in self._doomed if all_of_it or now >= entry[1]]:
            self._doomed.remove((node, until))
            if node in self._machines.nodes:
                self._machines.kill(node)
                self._machines.add()

    def _strike(self, event: Event) -> None:
        replicas, nodes = self._replicas(), self._machines.nodes
        self.outcome.happened.append(event.disaster.value)
        victim = replicas[event.draw % len(replicas)].pid if replicas else 0
        node = nodes[event.draw % len(nodes)]
        if event.disaster is Disaster.REPLICA_KILLED and victim:
            _signal(victim, signal.SIGKILL)
        elif event.disaster is Disaster.REPLICA_STALLS and victim:
            _signal(victim, signal.SIGSTOP)
            self._stalled.append((victim, time.monotonic() + 5.0 + event.draw % 5))
        elif event.disaster is Disaster.NODE_KILLED:
            self._machines.kill(node)
            self._machines.add()
        elif event.disaster is Disaster.NODE_DRAINED:
            self._machines.drain(node)
            self._doomed.append((node, time.monotonic() + 3.0))
        elif event.disaster is Disaster.NODE_JOINS:
            self._machines.add()
        elif event.disaster is Disaster.DRIVER_KILLED:
            self._session.process.kill()
        elif event.disaster is Disaster.DRIVER_STOPPED:
            self._session.process.terminate()
            self._session.wait(60.0)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _is_replica(pid: int) -> bool:
    """Return whether a process still is an actor; a pid may belong to another process by now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return stat != "Z" and b"Replica" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def play_seeds(
    seeds: Iterable[int], folder: Path, puzzles: str, machines: Machines, lethal: bytes
) -> Iterator[Outcome]:
    """Play one seed after the other on the same machines."""
    quiet = {deadly: quiet_run(folder / f"quiet-{len(deadly)}", puzzles, machines, deadly) for deadly in (b"", lethal)}
    for seed in seeds:
        deadly = lethal if schedule(seed)[1] else b""
        yield survive(seed, folder / f"seed-{seed}", puzzles, machines, quiet[deadly], deadly)


def main(out: str, puzzles: str, address: str, lethal: str) -> int:
    """Run one session, a resumed one where the folder holds a run."""
    from eqr_ray.config import load_config
    from eqr_ray.runs.evaluate import RunStopped, run_evaluation
    from eqr_ray.runs.recipe import Recipe

    engine = SlowSimulator(ROW_S, b"" if lethal == "-" else bytes.fromhex(lethal))
    given = {
        "out": out, "puzzles": puzzles, "address": address, "resume": True,
        "policy.depth": DEPTH, "policy.breadth": BREADTH, "start_timeout_s": SESSION_S,
    }  # fmt: skip
    try:
        run_evaluation(load_config(None, (), given), Recipe(lambda device, threads: engine))
    except RunStopped:
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
