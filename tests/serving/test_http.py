from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from endpoints import EASY, Endpoint, config_of, tiny_net

from eqr_ray.client import ServerError
from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.maze_making import make_maze
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.serving.shelf import torch_stock
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.solver import Solver
from eqr_ray.types import InputError


def demo(n: int, task: str = "sudoku6") -> list[Record]:
    return list(read_puzzles(str(demo_path(task)), limit=n))


def test_a_puzzle_is_answered_with_its_cost_and_its_request_id(endpoint: Endpoint) -> None:
    answer = endpoint.client().solve(EASY, seed=3)
    verdict = answer["verdict"]
    assert (answer["task"], answer["model"], answer["seed"]) == ("sudoku6", "six", 3)
    assert len(answer["request_id"]) == 32
    assert verdict["question"] == EASY
    assert len(verdict["prediction"]) == 36
    assert verdict["nfe"] >= verdict["depth"] >= 1
    assert answer["trace"] is None


@pytest.mark.parametrize(
    "budget",
    [
        {"policy": "adaptive"},
        {"policy": "adaptive", "depth": 40, "breadth": 5},
        {"policy": "fixed", "depth": 9, "breadth": 3},
        {"policy": "adaptive", "depth": 32, "breadth": 4, "nfe": 50, "seed": 12},
    ],
    ids=str,
)
def test_http_and_a_run_without_company_reach_the_same_verdicts(
    endpoint: Endpoint, budget: dict[str, int | str]
) -> None:
    records = demo(24)
    own = {key: value for key, value in budget.items() if key not in ("policy", "seed")}
    policy = policy_from(str(budget["policy"]), **own)
    run = Coordinator(policy, int(budget.get("seed", 0)))
    alone = {v.puzzle_id: v for v in drive_local(run, SimEngine(Landscape()), [record.puzzle for record in records])}
    task = find_task("sudoku6")

    async def ask() -> list[dict[str, object]]:
        client = endpoint.async_client()
        asked = [client.solve(record.question, **budget) for record in records]
        return [answer["verdict"] for answer in await asyncio.gather(*asked)]

    batch = endpoint.client().solve_batch([record.question for record in records], **budget)["verdicts"]
    for source in (asyncio.run(ask()), batch):
        for record, told in zip(records, source, strict=True):
            verdict = alone[record.puzzle.puzzle_id]
            assert told["puzzle_id"] == verdict.puzzle_id
            assert told["prediction"] == task.format(verdict.answer)
            assert (told["nfe"], told["breadth"], told["depth"], told["votes"], told["stop"]) == (
                verdict.nfe, verdict.breadth, verdict.depth, verdict.votes, verdict.stop.value,
            )  # fmt: skip
            assert told["confidence"] == pytest.approx(verdict.confidence, rel=1e-12)


def test_a_batch_keeps_the_order_and_tells_repeats_apart(endpoint: Endpoint) -> None:
    first, second = demo(2)
    asked = [second.question, first.question, second.question]
    told = endpoint.client().solve_batch(asked)["verdicts"]
    assert [verdict["question"] for verdict in told] == asked
    assert told[2]["puzzle_id"] == told[0]["puzzle_id"] + "#2"
    assert told[2]["prediction"] == told[0]["prediction"]


def test_a_trace_has_every_iteration_of_every_trajectory(endpoint: Endpoint) -> None:
    answer = endpoint.client().solve(demo(150)[-1].question, policy="fixed", depth=6, breadth=3, trace=True)
    seen = sorted((row["trajectory"], row["depth"]) for row in answer["trace"])
    assert seen == [(trajectory, depth) for trajectory in range(3) for depth in range(1, 7)]
    assert len(seen) == answer["verdict"]["nfe"]


def test_a_trace_changes_no_verdict(endpoint: Endpoint) -> None:
    for record in demo(10):
        budget = {"depth": 32, "breadth": 4, "nfe": 64}
        traced = endpoint.client().solve(record.question, trace=True, **budget)["verdict"]
        assert traced == endpoint.client().solve(record.question, **budget)["verdict"]


def test_a_stream_shows_every_step_and_ends_with_the_verdict(endpoint: Endpoint) -> None:
    question = demo(150)[-1].question
    events = list(endpoint.client().stream(question, seed=5, depth=64, breadth=4))
    assert [event.name for event in events[:1] + events[-1:]] == ["start", "verdict"]
    steps = [event.data for event in events[1:-1]]
    assert {event.name for event in events[1:-1]} == {"trace"}
    verdict = events[-1].data["verdict"]
    assert steps[-1]["nfe"] == verdict["nfe"]
    assert sum(len(step["rows"]) for step in steps) == verdict["nfe"]
    assert verdict == endpoint.client().solve(question, seed=5, depth=64, breadth=4)["verdict"]
    voted = {vote["answer"]: vote["count"] for vote in steps[-1]["votes"]}
    assert voted.get(verdict["prediction"], 0) == verdict["votes"]


def test_the_async_client_streams_too(endpoint: Endpoint) -> None:
    async def watch() -> list[str]:
        return [event.name async for event in endpoint.async_client().stream(EASY, every=4)]

    names = asyncio.run(watch())
    assert (names[0], names[-1]) == ("start", "verdict")


def test_models_lists_what_can_be_asked_for(endpoint: Endpoint) -> None:
    client = endpoint.client()
    listed = client.models()
    assert [model["task"] for model in listed["models"]] == ["sudoku6", "sudoku9"]
    for model in listed["models"]:
        for question in model["examples"][:2]:
            assert client.solve(question, model=model["name"])["task"] == model["task"]
    for policy in listed["policies"]:
        told = client.solve(EASY, policy=policy["name"])["policy"]
        assert (told["depth"], told["breadth"], told["nfe"]) == (policy["depth"], policy["breadth"], policy["nfe"])


def test_a_policy_of_the_configuration_can_be_asked_for(listen: Callable[..., Endpoint]) -> None:
    there = listen(policies={"quick": {"name": "configs/policy/quick.yaml"}}, default_policy="quick")
    told = there.client().solve(EASY)["policy"]
    assert (told["name"], told["depth"], told["breadth"], told["nfe"]) == ("adaptive", 64, 4, 128)
    deeper = there.client().solve(EASY, policy="quick", depth=96)["policy"]
    assert (deeper["depth"], deeper["breadth"], deeper["nfe"]) == (96, 4, 384)


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"puzzle": EASY[:-1]}, "36 characters, got 35"),
        ({"puzzle": EASY[:-1] + "7"}, "at character 36"),
        ({"puzzle": "11" + EASY[2:]}, "two 1s in row 1"),
        ({"puzzle": "." * 256}, "no model here answers sudoku16"),
        ({"puzzle": EASY, "task": "sudoku9"}, "81 characters"),
        ({"puzzle": EASY, "task": "chess"}, "a task is named like"),
        ({"puzzle": EASY, "model": "nine", "task": "sudoku6"}, "leave one of them out"),
        ({"puzzle": EASY, "model": "ten"}, "model must be one of six, nine"),
        ({"puzzle": EASY, "policy": "lavish"}, "policy must be one of"),
        ({"puzzle": EASY, "depth": 5000}, "depth must be at most 4096"),
        ({"puzzle": EASY, "breadth": 257}, "breadth must be at most 256"),
        ({"puzzle": EASY, "depth": 4096, "breadth": 256}, "nfe must be at most 65536"),
        ({"puzzle": EASY, "depth": 4, "breadth": 2, "nfe": 9}, "nfe must be in"),
        ({"puzzle": EASY, "depth": 4096, "breadth": 2, "trace": True}, "a trace has at most 4096 rows"),
        ({"puzzle": EASY, "depth": 0}, "depth: Input should be greater than or equal to 1"),
        ({"puzzle": EASY, "depth": 2.5}, "depth: Input should be a valid integer"),
        ({"puzzle": EASY, "depth": "8"}, "depth: Input should be a valid integer"),
        ({"puzzle": EASY, "seed": -1}, "seed"),
        ({"puzzle": EASY, "seed": 2**63}, "seed"),
        ({"puzzle": EASY, "deadline_s": 0.0}, "deadline_s"),
        ({"puzzle": EASY, "deadline_s": 301.0}, "deadline_s must be at most 300"),
        ({"puzzle": EASY, "dept": 3}, "dept: Extra inputs"),
        ({"puzzle": 7}, "puzzle"),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_what_cannot_be_asked_is_422_with_the_reason(endpoint: Endpoint, asked: dict[str, object], word: str) -> None:
    with pytest.raises(ServerError) as caught:
        endpoint.client().solve(**asked)  # type: ignore[arg-type]
    assert caught.value.status == 422
    assert word in caught.value.message


def test_a_batch_of_too_many_is_422(listen: Callable[..., Endpoint]) -> None:
    there = listen(**{"limits.batch": 3})
    assert len(there.client().solve_batch([EASY] * 3)["verdicts"]) == 3
    with pytest.raises(ServerError, match="at most 3 puzzles") as caught:
        there.client().solve_batch([EASY] * 4)
    assert caught.value.status == 422


def test_the_torch_engine_over_http_equals_the_solver_in_one_process(
    listen: Callable[..., Endpoint], tmp_path: Path
) -> None:
    net = tiny_net(tmp_path, "sudoku6")
    there = listen(torch_stock(config_of(tiny=net)))
    questions = [record.question for record in demo(4)]
    budget = {"depth": 20, "breadth": 3, "seed": 4}
    alone = list(Solver(net, device="cpu", threads=1, **budget).solve_many(questions))
    for question, answer in zip(questions, alone, strict=True):
        told = there.client().solve(question, **budget)["verdict"]
        assert (told["prediction"], told["valid"], told["nfe"]) == (answer.text, answer.valid, answer.verdict.nfe)
        assert told["confidence"] == answer.verdict.confidence
        assert told["residual"] == pytest.approx(answer.verdict.residual, rel=1e-6)


def test_weights_for_mazes_answer_smaller_ones_where_the_configuration_says_so(listen: Callable[..., Endpoint]) -> None:
    there = listen(torch_stock(config_of(mazes="maze", small="maze for maze5x7")))
    small = find_task("maze5x7")
    assert isinstance(small, MazeTask)
    made = make_maze(small, np.random.default_rng(5), 3, 24)
    question = small.format(made.question)
    told = there.client().solve(question, task="maze5x7")
    assert told["model"] == "small"
    answer = Solver("maze", task="maze5x7", device="cpu", threads=1).solve(question)
    assert (told["verdict"]["prediction"], told["verdict"]["nfe"]) == (answer.text, answer.verdict.nfe)
    with pytest.raises(InputError, match=r"models\.nine holds sudoku9"):
        torch_stock(config_of(nine="maze for sudoku9"))
