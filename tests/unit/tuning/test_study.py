from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from optuna.trial import TrialState

from eqr_ray.distributed.crew import Done, work_here
from eqr_ray.sim import Landscape
from eqr_ray.sim.made import made_trace
from eqr_ray.tuning.front import front
from eqr_ray.tuning.space import Space
from eqr_ray.tuning.storage import open_study
from eqr_ray.tuning.study import Workers, candidates, sampler, search
from eqr_ray.tuning.trials import ReplayTrials, Score, Task

SPACE = Space(("agreement", "fixed"), 24, 4)
RECIPE = ReplayTrials(made_trace(60, 24, 4, Landscape(hard_depth=8.0)))


def here(tasks: Iterator[Task]) -> Generator[Done[Task, Score], None, None]:
    return work_here(RECIPE, tasks)


@dataclass(frozen=True)
class Sour:
    """A recipe whose function fails on one trial."""

    bad: int

    def __call__(self) -> Callable[[Task], Score]:
        inner = RECIPE()

        def run(task: Task) -> Score:
            if task.number == self.bad:
                raise RuntimeError("the worker fell over")
            return inner(task)

        return run


def study_in(folder: Path, resume: bool = False):  # type: ignore[no-untyped-def]
    return open_study(str(folder), None, "s", sampler(0, 0), resume)


def test_a_trial_gives_the_same_numbers_in_any_worker(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    search(study, SPACE, SPACE.starts(["agreement", "fixed"]), 6, here)
    for own in candidates(study):
        score = RECIPE()(Task(own.number, own.spec))
        assert (score.accuracy, score.nfe_mean) == (own.accuracy, own.nfe_mean)
    assert len(candidates(study)) == 6


def test_known_policies_are_tried_first(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    starts = SPACE.starts(["agreement", "fixed"])
    search(study, SPACE, starts, 2, here)
    assert [trial.params for trial in study.get_trials()] == starts


def test_a_trial_that_fails_is_one_failed_trial(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    search(study, SPACE, [], 8, lambda tasks: work_here(Sour(3), tasks))
    states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.FAIL) == 1
    assert states.count(TrialState.COMPLETE) == 7
    assert "fell over" in study.get_trials()[3].user_attrs["error"]


def test_a_study_that_was_killed_goes_on_and_tries_again_what_was_under_way(tmp_path: Path) -> None:
    def killed_after(n: int) -> Workers:
        def work(tasks: Iterator[Task]) -> Generator[Done[Task, Score], None, None]:
            for k, done in enumerate(work_here(RECIPE, tasks)):
                if k == n:
                    raise KeyboardInterrupt
                yield done

        return work

    study = study_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        search(study, SPACE, [], 10, killed_after(4))
    cut = study.get_trials(states=(TrialState.RUNNING,))
    assert len(cut) == 1
    again = study_in(tmp_path, resume=True)
    search(again, SPACE, [], 10, here)
    trials = again.get_trials()
    assert [trial.state for trial in trials].count(TrialState.RUNNING) == 0
    assert sum(trial.state.is_finished() for trial in trials) == 10
    assert any(trial.params == cut[0].params for trial in trials if trial.state is TrialState.COMPLETE)


def test_limits_keep_policies_off_the_front(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    search(study, SPACE, SPACE.starts(["agreement", "fixed"]), 15, here, (None, 20.0))
    found = candidates(study)
    assert any(own.nfe_mean > 20 for own in found)
    assert all(own.nfe_mean <= 20 for own in front(found))
