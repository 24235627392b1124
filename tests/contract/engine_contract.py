"""What every engine must do, as a test class to inherit from.

A test file subclasses `EngineContract`, gives `make_engine` and `questions`, and pytest collects the rest. Reports are
compared bit by bit: an engine at a fixed batch shape owes that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from eqr_ray.coordinator import trajectory_seeds
from eqr_ray.coordinator.dispatch import CONTROL
from eqr_ray.policy.halting import halted_at
from eqr_ray.types import U8, Engine, HaltRule, Slice, SliceResult, Status, draw_key

NEVER = HaltRule()
Row = tuple[int, int]
"""Puzzle number and trajectory index."""


def slice_of(
    rows: Iterable[Row],
    until: int | list[int],
    questions: list[U8],
    *,
    send: Iterable[int] | None = None,
    halt: HaltRule = NEVER,
    retired: Iterable[int] = (),
    slice_id: int = 0,
) -> Slice:
    """Build orders; puzzle number n asks question n modulo their count; `send` names the puzzles whose cells travel,
    all by default."""
    rows = list(rows)
    puzzle, index = np.array([p for p, _ in rows], np.int64), np.array([i for _, i in rows], np.int32)
    keys = np.array([draw_key("contract", questions[p % len(questions)]) for p in puzzle.tolist()], np.uint64)
    sent = set(puzzle.tolist()) if send is None else set(send)
    return Slice(
        slice_id=slice_id,
        replica_id="r",
        puzzle=puzzle,
        index=index,
        seed=trajectory_seeds(7, keys, index),
        until=np.full(len(rows), until, np.int32) if isinstance(until, int) else np.array(until, np.int32),
        halt=np.zeros(len(rows), np.int32),
        halts=(halt,),
        cells={p: questions[p % len(questions)] for p in sent},
        retired=np.array(list(retired), np.int64),
    )


def facts(result: SliceResult) -> dict[Row, tuple[object, ...]]:
    """Return what was reported of each row, bit for bit."""
    t = result.trajectories
    bits = [column.view(np.uint32).tolist() for column in (t.residual, t.logit_delta, t.q_halt)]
    answers = [result.answers[key].tobytes() for key in t.answer_key.tolist()]
    columns = zip(t.depth.tolist(), *bits, t.answer_key.tolist(), t.status.tolist(), answers, strict=True)
    rows = zip(t.puzzle.tolist(), t.index.tolist(), strict=True)
    return dict(zip(rows, columns, strict=True))


class EngineContract:
    """Inherit, give `make_engine` and `questions`."""

    depth = 12
    """How deep the tests go."""
    any_question = True
    """Whether it can be asked what nobody asked it before."""
    n_many = 40
    """Trajectories of each question in the test that fills every slot; more than the engine's slots in all."""

    def make_engine(self) -> Engine:
        """Return a fresh engine; all of them compute the same function."""
        raise NotImplementedError

    def questions(self) -> list[U8]:
        """Return at least three distinct questions of one task."""
        raise NotImplementedError

    def rows(self) -> list[Row]:
        return [(p, i) for p in range(len(self.questions())) for i in range(3)]

    def orders(self, rows: Iterable[Row], until: int | list[int], **more: object) -> Slice:
        return slice_of(rows, until, self.questions(), **more)  # type: ignore[arg-type]

    def test_running_rows_reach_exactly_the_depth_ordered(self) -> None:
        rows = self.rows()
        until = [1 + n % self.depth for n in range(len(rows))]
        result = self.make_engine().run(self.orders(rows, until, slice_id=31))
        assert (result.slice_id, result.replica_id) == (31, "r")
        found = facts(result)
        assert found.keys() == set(rows)
        assert [found[row][0] for row in rows] == until
        assert (result.trajectories.status == Status.RUNNING).all()

    def test_report_has_the_dtypes_of_the_interface(self) -> None:
        t = self.make_engine().run(self.orders(self.rows(), 4)).trajectories
        dtypes = [column.dtype for column in (t.puzzle, t.index, t.depth, t.residual, t.logit_delta, t.q_halt)]
        assert dtypes == [np.int64, np.int32, np.int32, np.float32, np.float32, np.float32]
        assert (t.answer_key.dtype, t.status.dtype) == (np.uint64, np.uint8)

    def test_running_means_are_undefined_until_their_window_is_full(self) -> None:
        engine, rows = self.make_engine(), self.rows()
        for until in range(1, 6):
            t = engine.run(self.orders(rows, until)).trajectories
            assert np.isinf(t.residual).all() == (until < 3)
            assert np.isfinite(t.residual).all() == (until >= 3)
            assert np.isinf(t.logit_delta).all() == (until < 4)
            assert np.isfinite(t.logit_delta).all() == (until >= 4)

    def test_same_orders_again_give_the_same_report(self) -> None:
        engine, orders = self.make_engine(), self.orders(self.rows(), self.depth)
        assert facts(engine.run(orders)) == facts(engine.run(orders))

    def test_legs_and_one_go_end_in_the_same_state(self) -> None:
        rows, one_go, legs = self.rows(), self.make_engine(), self.make_engine()
        for until in (1, 2, 5, self.depth - 1):
            legs.run(self.orders(rows, until))
        assert facts(legs.run(self.orders(rows, self.depth))) == facts(one_go.run(self.orders(rows, self.depth)))

    def test_a_row_does_not_depend_on_its_neighbours_or_its_place(self) -> None:
        rows = self.rows()
        together = facts(self.make_engine().run(self.orders(rows, self.depth)))
        shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows)).tolist()]
        assert facts(self.make_engine().run(self.orders(shuffled, self.depth))) == together
        for row in (rows[0], rows[-1]):
            assert facts(self.make_engine().run(self.orders([row], self.depth))) == {row: together[row]}

    def test_a_row_does_not_depend_on_what_ran_before_it(self) -> None:
        rows, engine = self.rows(), self.make_engine()
        alone = facts(self.make_engine().run(self.orders(rows[:2], self.depth)))
        engine.run(self.orders(rows[2:], self.depth))
        assert facts(engine.run(self.orders(rows[:2], self.depth))) == alone

    def test_more_rows_than_slots_are_all_served(self) -> None:
        n_questions = len(self.questions())
        rows = [(p, i) for i in range(self.n_many) for p in range(n_questions)]
        until = [1 + (3 * n) % 7 for n in range(len(rows))]
        found = facts(self.make_engine().run(self.orders(rows, until)))
        few = [n for n in range(len(rows)) if n % 17 == 0]
        some = facts(self.make_engine().run(self.orders([rows[n] for n in few], [until[n] for n in few])))
        assert found.keys() == set(rows)
        assert {row: found[row] for row in some} == some

    def test_equal_questions_with_equal_seeds_run_equal_trajectories(self) -> None:
        n = len(self.questions())
        found = facts(self.make_engine().run(self.orders([(0, 0), (n, 0), (0, 1)], self.depth)))
        assert found[(0, 0)] == found[(n, 0)]
        assert found[(0, 0)] != found[(0, 1)]

    def test_answers_hold_every_key_and_equal_keys_mean_equal_answers(self) -> None:
        questions = self.questions()
        result = self.make_engine().run(self.orders(self.rows(), self.depth))
        assert result.answers.keys() >= set(result.trajectories.answer_key.tolist())
        for answer in result.answers.values():
            assert (answer.shape, answer.dtype) == (questions[0].shape, np.uint8)
        assert len({answer.tobytes() for answer in result.answers.values()}) == len(result.answers)

    def test_a_lost_trajectory_restarts_elsewhere_to_the_same_state(self) -> None:
        rows, first, second = self.rows(), self.make_engine(), self.make_engine()
        first.run(self.orders(rows, 5))
        kept = first.run(self.orders(rows, self.depth))
        restarted = second.run(self.orders(rows, self.depth))
        assert facts(kept) == facts(restarted)
        assert restarted.nfe_computed >= self.depth * len(rows)
        assert (self.depth - 5) * len(rows) <= kept.nfe_computed < restarted.nfe_computed

    def test_retired_puzzles_are_forgotten(self) -> None:
        rows, engine = self.rows(), self.make_engine()
        first = facts(engine.run(self.orders(rows, 5)))
        others = [row for row in rows if row[0] != 0]
        engine.run(self.orders(others, 6, send=(), retired=[0]))
        with pytest.raises((KeyError, ValueError)):
            engine.run(self.orders([(0, 0)], 5, send=()))
        again = facts(engine.run(self.orders([(0, 0)], 5)))
        assert again == {(0, 0): first[(0, 0)]}

    def test_retiring_an_unknown_puzzle_and_sending_known_cells_are_harmless(self) -> None:
        rows, engine = self.rows(), self.make_engine()
        engine.run(self.orders(rows, 3, retired=[999]))
        found = facts(engine.run(self.orders(rows, self.depth)))
        assert found == facts(self.make_engine().run(self.orders(rows, self.depth)))

    def record(self) -> tuple[np.ndarray, np.ndarray]:
        """Return residual and q_halt of every row after every iteration, (N, depth) each."""
        rows, engine = self.rows(), self.make_engine()
        residual, q_halt = [], []
        for until in range(1, self.depth + 1):
            result = engine.run(self.orders(rows, until))
            order = np.lexsort((result.trajectories.index, result.trajectories.puzzle))
            residual.append(result.trajectories.residual[order])
            q_halt.append(result.trajectories.q_halt[order])
        return np.stack(residual, axis=1), np.stack(q_halt, axis=1)

    def test_halting_equals_the_reference_in_one_go_and_in_legs(self) -> None:
        residual, q_halt = self.record()
        rows = sorted(self.rows())
        below = float(np.quantile(residual[np.isfinite(residual)], 0.7))
        above = float(np.quantile(q_halt, 0.3))
        rules = (
            HaltRule(residual_below=below, stable_for=1),
            HaltRule(residual_below=below, q_halt_above=above, stable_for=2),
            HaltRule(min_depth=6, residual_below=below, stable_for=3),
            HaltRule(residual_below=math.inf, q_halt_above=above, stable_for=2),
        )
        n_halted = 0
        for rule in rules:
            at = halted_at(rule, residual, q_halt)
            n_halted += int((at > 0).sum())
            settled = Status.Q_HALTED if rule.residual_below == math.inf else Status.CONVERGED
            expected = {
                row: (int(d) if d else self.depth, int(settled if d else Status.RUNNING))
                for row, d in zip(rows, at, strict=True)
            }
            one_go = facts(self.make_engine().run(self.orders(rows, self.depth, halt=rule)))
            assert {row: (fact[0], fact[5]) for row, fact in one_go.items()} == expected
            assert self.in_legs(rule) == one_go
        assert n_halted > 0

    def in_legs(self, rule: HaltRule) -> dict[Row, tuple[object, ...]]:
        """Run all rows by legs of two iterations, leaving halted ones alone, as a coordinator does."""
        engine, open_rows, done = self.make_engine(), self.rows(), dict[Row, tuple[object, ...]]()
        for until in [*range(2, self.depth, 2), self.depth]:
            if open_rows:
                done |= facts(engine.run(self.orders(open_rows, until, halt=rule)))
            open_rows = [row for row in open_rows if done[row][5] == Status.RUNNING]
        return done

    def test_a_halted_row_ordered_again_is_reported_again(self) -> None:
        residual, _ = self.record()
        rule = HaltRule(residual_below=float(np.quantile(residual[np.isfinite(residual)], 0.7)), stable_for=1)
        engine, orders = self.make_engine(), self.orders(self.rows(), self.depth, halt=rule)
        first = engine.run(orders)
        assert (first.trajectories.status == Status.CONVERGED).any()
        assert facts(engine.run(orders)) == facts(first)

    def test_the_control_is_done_and_changes_nothing_of_what_comes_after(self) -> None:
        if not self.any_question:
            pytest.skip("this engine knows its own questions only, and no replica runs it")
        alone, engine = self.make_engine(), self.make_engine()
        blank = [np.zeros_like(question) for question in self.questions()]
        control = engine.run(slice_of([(CONTROL, 0)], 1, blank, slice_id=1))
        assert control.trajectories.depth.tolist() == [1]
        rows = [(n, 0) for n in range(len(self.questions()))]
        after = engine.run(self.orders(rows, self.depth, retired=[CONTROL], slice_id=2))
        assert facts(after) == facts(alone.run(self.orders(rows, self.depth, slice_id=2)))
