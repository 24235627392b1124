"""The simulator: an engine whose trajectories come from a synthetic landscape, many columns at a time.

Invariants, asserted in tests/contract/test_sim_engine.py: it passes the engine contract; iterations that a parked
trajectory has done are not computed again, those of one that was lost or sent elsewhere are.
"""

from __future__ import annotations

import math

import numpy as np

from eqr_ray.coordinator.seeds import mix
from eqr_ray.policy.halting import halted_at
from eqr_ray.sim.landscape import Landscape, Paths, attractor_key
from eqr_ray.types import I32, I64, U8, U64, HaltRule, Slice, SliceResult, Status, Trajectories, draw_key

_BLOCK = 16
"""Iterations looked at together; rows that halt leave between blocks."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


class SimEngine:
    """Plays trajectories of a landscape."""

    def __init__(self, landscape: Landscape | None = None, s_per_iteration: float = 0.0) -> None:
        """s_per_iteration: what an iteration of one row is reported to have taken; nothing waits for it."""
        self._landscape = Landscape() if landscape is None else landscape
        self._s_per_iteration = s_per_iteration
        self._slot: dict[int, int] = {}
        self._free: list[int] = []
        self._cells = np.zeros(0, object)
        self._digest = np.zeros(0, np.uint64)
        self._median = np.zeros(0)
        self._right = np.zeros(0)
        self._done = np.zeros((0, 1), np.int32)

    @property
    def n_puzzles(self) -> int:
        """Puzzles whose cells are held."""
        return len(self._slot)

    def solution(self, cells: U8) -> U8:
        """Return the right answer of a question, for scoring what the simulator was asked."""
        key = attractor_key(digests_of([cells]), np.zeros(1, np.int64))
        answer: U8 = _decode(cells[None, :], key)[0]
        return answer

    def decode(self, cells: U8, keys: U64) -> U8:
        """Return the answers (K, S) to a question that keys (K,) stand for."""
        return _decode(np.broadcast_to(cells, (len(keys), len(cells))), keys)

    def run(self, orders: Slice) -> SliceResult:
        """Bring every trajectory to its depth; raises KeyError for a puzzle whose cells were not sent or were
        retired."""
        self._retire(orders.retired)
        self._learn(orders.cells)
        slots = np.fromiter(map(self._slot.__getitem__, orders.puzzle.tolist()), np.int64, len(orders))
        until = orders.until.astype(np.int64)
        known = self._parked(slots, orders.index, until)
        digest = self._digest[slots]
        paths = self._landscape.trajectories(digest, orders.seed, self._median[slots], self._right[slots])
        depth, status = self._play(paths, known, until, orders.halt, orders.halts)
        self._done[slots, orders.index] = depth
        keys = self._landscape.answer_keys(digest, paths, depth)
        seen = self._landscape.observe(paths, depth, 1)
        broken = status == Status.DIVERGED
        nfe = int((depth - known).sum())
        return SliceResult(
            slice_id=orders.slice_id,
            replica_id=orders.replica_id,
            trajectories=Trajectories(
                puzzle=orders.puzzle,
                index=orders.index,
                depth=depth.astype(np.int32),
                residual=np.where(broken, np.float32(np.inf), seen.residual[:, 0]),
                logit_delta=np.where(broken, np.float32(np.inf), seen.logit_delta[:, 0]),
                q_halt=np.where(broken, np.float32(-np.inf), seen.q_halt[:, 0]),
                answer_key=keys,
                status=status,
            ),
            answers=self._answers(slots, keys),
            nfe_computed=nfe,
            elapsed_s=nfe * self._s_per_iteration,
        )

    def _play(self, paths: Paths, known: I64, until: I64, halt: I32, halts: tuple[HaltRule, ...]) -> tuple[I64, U8]:
        """Return the depth and the status that each row ends with."""
        breaks = (paths.breaks_at > 0) & (paths.breaks_at <= until)
        depth = np.where(breaks, paths.breaks_at, until)
        status = np.where(breaks, Status.DIVERGED, Status.RUNNING).astype(np.uint8)
        for number, rule in enumerate(halts):
            if rule.never:
                continue
            settled = Status.Q_HALTED if rule.residual_below == math.inf else Status.CONVERGED
            rows = np.flatnonzero(halt == number)
            at = self._halting_depth(rule, paths, rows, known, depth)
            # A state that is not finite cannot settle, so a row that breaks halts only before.
            halts_first = (at > 0) & ((status[rows] == Status.RUNNING) | (at < depth[rows]))
            depth[rows[halts_first]] = at[halts_first]
            status[rows[halts_first]] = settled
        return depth, status

    def _halting_depth(self, rule: HaltRule, paths: Paths, rows: I64, known: I64, until: I64) -> I64:
        """Return the depth within `until` at which each of `rows` halts, 0 for one that does not."""
        found = np.zeros(len(rows), np.int64)
        # A parked row did not halt before its depth, so the iterations of one streak before it are all that matters.
        alive = np.arange(len(rows))
        first = np.maximum(known[rows] - rule.stable_for, 0) + 1
        n_steps = _BLOCK + rule.stable_for
        while len(alive):
            seen = self._landscape.observe(paths.take(rows[alive]), first, n_steps)
            at = halted_at(rule, seen.residual, seen.q_halt, first.astype(np.int32)).astype(np.int64)
            at[at > until[rows[alive]]] = 0
            found[alive] = at
            first = first + _BLOCK
            goes_on = (at == 0) & (first + rule.stable_for <= until[rows[alive]])
            alive, first = alive[goes_on], first[goes_on]
        return found

    def _parked(self, slots: I64, index: I32, until: I64) -> I64:
        """Return how many iterations of each row are parked here; a row parked beyond its order starts again."""
        most = int(index.max(initial=0)) + 1
        if most > self._done.shape[1]:
            wider = np.zeros((len(self._done), 2 * most), np.int32)
            wider[:, : self._done.shape[1]] = self._done
            self._done = wider
        done = self._done[slots, index].astype(np.int64)
        return np.where(done <= until, done, 0)

    def _learn(self, cells: dict[int, U8]) -> None:
        new = {number: question for number, question in cells.items() if number not in self._slot}
        if not new:
            return
        while len(self._free) < len(new):
            self._grow()
        slots = np.array([self._free.pop() for _ in new], np.int64)
        self._slot.update(zip(new, slots.tolist(), strict=True))
        digest = digests_of(list(new.values()))
        median, right = self._landscape.puzzles(digest)
        self._digest[slots], self._median[slots], self._right[slots], self._done[slots] = digest, median, right, 0
        for slot, question in zip(slots.tolist(), new.values(), strict=True):
            self._cells[slot] = question

    def _retire(self, numbers: I64) -> None:
        for number in numbers.tolist():
            slot = self._slot.pop(number, None)
            if slot is not None:
                self._cells[slot] = None
                self._free.append(slot)

    def _grow(self) -> None:
        old = len(self._cells)
        more = max(old, 64)
        self._cells = np.concatenate([self._cells, np.full(more, None, object)])
        self._digest = np.concatenate([self._digest, np.zeros(more, np.uint64)])
        self._median = np.concatenate([self._median, np.zeros(more)])
        self._right = np.concatenate([self._right, np.zeros(more)])
        self._done = np.concatenate([self._done, np.zeros((more, self._done.shape[1]), np.int32)])
        self._free.extend(range(old + more - 1, old - 1, -1))

    def _answers(self, slots: I64, keys: U64) -> dict[int, U8]:
        distinct, row = np.unique(keys, return_index=True)
        questions = self._cells[slots[row]].tolist()
        sizes = np.fromiter(map(len, questions), np.int64, len(questions))
        answers: dict[int, U8] = {}
        for size in np.unique(sizes).tolist():
            own = np.flatnonzero(sizes == size)
            decoded = _decode(np.stack([questions[i] for i in own.tolist()]), distinct[own])
            answers.update(zip(distinct[own].tolist(), decoded, strict=True))
        return answers


def digests_of(cells: list[U8]) -> U64:
    """Return what the landscape draws questions by, (N,)."""
    return np.array([draw_key("simulated", question) for question in cells], np.uint64)


def _decode(cells: U8, keys: U64) -> U8:
    """Return the answers (K, S) that the keys stand for: the clues of the questions (K, S), the blanks filled from the
    key."""
    size = cells.shape[1]
    steps: U64 = np.arange(1, -(-size // 8) + 1, dtype=np.uint64) * _STEP
    words = mix(keys[:, None] + steps)
    symbols = max(math.isqrt(size), 2)
    filled = words.view(np.uint8)[:, :size] % np.uint8(symbols) + np.uint8(1)
    return np.where(cells > 0, cells, filled).astype(np.uint8)
