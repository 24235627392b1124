"""What every policy must do, as checks over many random tallies and a plain round-by-round run."""

from __future__ import annotations

import numpy as np

from eqr_ray.policy import Choices, Policy, check_allocations
from eqr_ray.types import Allocations, Status, StopReason, Tallies, Trajectories

_FLOATS = ("residual", "logit_delta", "q_halt")


def tallies_from(puzzles: list[int], rows: list[dict[str, float]], rounds: list[int] | None = None) -> Tallies:
    """Build tallies of the puzzles (ascending) from rows that name puzzle, index and whatever differs from a fresh
    running row."""
    rows = sorted(rows, key=lambda row: (row["puzzle"], row["index"]))

    def column(name: str, dtype: type, default: float) -> np.ndarray:
        return np.array([row.get(name, default) for row in rows], dtype)

    t = Trajectories(
        column("puzzle", np.int64, 0),
        column("index", np.int32, 0),
        column("depth", np.int32, 16),
        column("residual", np.float32, 0.5),
        column("logit_delta", np.float32, 0.5),
        column("q_halt", np.float32, -5.0),
        np.array([int(row.get("answer_key", 1)) for row in rows], np.uint64),
        column("status", np.uint8, Status.RUNNING),
    )
    start = np.searchsorted(t.puzzle, np.array([*puzzles, np.iinfo(np.int64).max]))
    asked = [1] * len(puzzles) if rounds is None else rounds
    return Tallies(np.array(puzzles, np.int64), start.astype(np.int64), t, np.array(asked, np.int32))


def random_tallies(policy: Policy, n_puzzles: int, seed: int, fresh: float = 0.1) -> Tallies:
    """Draw tallies that stand within the policy's budget: few answers, ties, undefined and broken values included."""
    rng, budget = np.random.default_rng(seed), policy.budget
    rows: list[dict[str, float]] = []
    for p in range(n_puzzles):
        left = budget.nfe
        breadth = 0 if rng.random() < fresh else int(rng.integers(1, budget.breadth + 1))
        for i in range(breadth):
            depth = int(min(rng.choice([1, 2, 8, 16, 100, budget.depth]), budget.depth, left))
            if depth == 0:
                break
            left -= depth
            status = int(rng.choice(list(Status)))
            settled = status in (Status.CONVERGED, Status.Q_HALTED)
            residual = rng.choice([0.02, 0.05, rng.random()]) if settled else rng.choice([0.8, np.inf, rng.random()])
            q_halt = rng.choice([0.5, 5.0, rng.normal(2, 2)]) if settled else rng.normal(-4, 1)
            if status == Status.DIVERGED:
                residual, q_halt = rng.choice([np.inf, np.nan]), rng.choice([-np.inf, np.nan])
            rows.append(
                {"puzzle": p, "index": i, "depth": depth, "status": status, "residual": residual, "q_halt": q_halt,
                 "logit_delta": residual, "answer_key": int(rng.integers(1, 4))}
            )  # fmt: skip
    return tallies_from(
        list(range(n_puzzles)), rows, [int(any(r["puzzle"] == p for r in rows)) for p in range(n_puzzles)]
    )


def one_of(tallies: Tallies, p: int) -> Tallies:
    """Return the tally of one puzzle alone."""
    own = slice(int(tallies.start[p]), int(tallies.start[p + 1]))
    start = np.array([0, own.stop - own.start], np.int64)
    return Tallies(tallies.puzzle[p : p + 1], start, tallies.trajectories.take(own), tallies.rounds[p : p + 1])


def without_fresh(tallies: Tallies) -> Tallies:
    """Return the tallies of the puzzles that have a trajectory."""
    kept = tallies.breadth > 0
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(tallies.breadth[kept])])
    return Tallies(tallies.puzzle[kept], start, tallies.trajectories, tallies.rounds[kept])


def granted_to(tallies: Tallies, allocations: Allocations, p: int) -> tuple[object, ...]:
    """Return what one puzzle was granted."""
    own = slice(int(tallies.start[p]), int(tallies.start[p + 1]))
    spawn = int(allocations.spawn[p])
    spawn_to = int(allocations.spawn_to[p]) if spawn else 0
    return allocations.stop[p], allocations.extend_to[own].tolist(), spawn, spawn_to


def chosen_for(choices: Choices, p: int) -> tuple[object, ...]:
    """Return what was chosen for one puzzle, to the last bit."""
    own = slice(int(choices.start[p]), int(choices.start[p + 1]))
    b = choices.ballots
    head = (int(choices.answer_key[p]), float(choices.confidence[p]), int(choices.votes[p]))
    ragged = (b.answer_key, b.count, b.weight, b.best_residual, b.best_logit_delta)
    return (*head, *(column[own].tobytes() for column in ragged))


def play(policy: Policy, n_puzzles: int, seed: int, *, ever_settles: bool = True) -> tuple[Tallies, list[StopReason]]:
    """Run rounds until every puzzle has stopped; rows settle by chance. Returns the last tallies and why each puzzle
    stopped."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    rounds, reasons = [0] * n_puzzles, dict[int, StopReason]()
    for _ in range(2 * policy.budget.nfe + 2):
        tallies = tallies_from(list(range(n_puzzles)), rows, rounds)
        allocations = policy.allocate(tallies)
        check_allocations(tallies, allocations, policy.budget)
        rows = sorted(rows, key=lambda row: (row["puzzle"], row["index"]))
        for row, until in zip(rows, allocations.extend_to.tolist(), strict=True):
            if until:
                _advance(row, until, rng, ever_settles)
        for p, reason in enumerate(allocations.stop):
            if reason is not None:
                assert reasons.setdefault(p, reason) is reason, "a puzzle that stopped must not stop for another reason"
                continue
            assert p not in reasons, "a puzzle that stopped must not go on"
            rounds[p] += 1
            for i in range(int(allocations.spawn[p])):
                row = {"puzzle": p, "index": int(tallies.breadth[p]) + i, "depth": 0}
                _advance(row, int(allocations.spawn_to[p]), rng, ever_settles)
                rows.append(row)
        if len(reasons) == n_puzzles:
            return tallies, [reasons[p] for p in range(n_puzzles)]
    raise AssertionError("the policy does not end")


def _advance(row: dict[str, float], until: int, rng: np.random.Generator, ever_settles: bool) -> None:
    settles = ever_settles and rng.random() < 0.3
    row["depth"] = int(rng.integers(row["depth"] + 1, until + 1)) if settles else until
    row["status"] = Status.CONVERGED if settles else Status.RUNNING
    row["residual"], row["q_halt"] = (0.05, rng.normal(2, 2)) if settles else (rng.random(), -4.0)
    row["answer_key"] = int(rng.integers(1, 4))
