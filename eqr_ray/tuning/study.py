"""The loop between an Optuna study and its workers: ask, try, tell.

Optuna is called from this process only, so one writer is all that a journal ever has.
Invariants, asserted in tests/unit/tuning/test_study.py and tests/ray_local/test_crew.py: a killed study goes on where it
stopped, and what was under way is tried again; a trial that fails, or whose worker dies, is one failed trial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator

import optuna
from optuna.trial import FrozenTrial, TrialState

from eqr_ray.distributed.crew import Done
from eqr_ray.policy import PolicySpec
from eqr_ray.tuning.front import Candidate
from eqr_ray.tuning.space import Choice, Space
from eqr_ray.tuning.trials import Score, Task

Workers = Callable[[Iterator[Task]], Generator[Done[Task, Score], None, None]]
LEAST_NFE = 1e-3


def sampler(n_trials: int, seed: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a session; its seed moves on with the trials, so a resumed session does not repeat suggestions."""
    return optuna.samplers.TPESampler(seed=(seed + 7919 * n_trials) % 2**31, multivariate=True, group=True)


def search(
    study: optuna.Study,
    space: Space,
    starts: list[dict[str, Choice]],
    n_trials: int,
    workers: Workers,
    limits: tuple[float | None, float | None] = (None, None),
    each: Callable[[int], object] = lambda n: None,
) -> None:
    """Run trials until the study has `n_trials` that ended; limits: (least accuracy, most iterations).

    Trials that an earlier session left under way are failed, and their points are tried first.
    """
    for stale in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(stale.number, state=TrialState.FAIL)
        study.enqueue_trial(stale.params)
    for point in starts:
        study.enqueue_trial(point, skip_if_exists=True)
    ended = sum(earlier.state.is_finished() for earlier in study.get_trials(deepcopy=False))
    open_: dict[int, optuna.Trial] = {}

    def tasks() -> Iterator[Task]:
        for _ in range(max(n_trials - ended, 0)):
            trial = study.ask()
            spec = space.suggest(trial)
            trial.set_user_attr("policy", json.dumps(spec.as_dict()))
            open_[trial.number] = trial
            yield Task(trial.number, spec)

    done = workers(tasks())
    try:
        for result in done:
            trial = open_.pop(result.task.number)
            score = result.value
            if score is None or not math.isfinite(score.accuracy):
                trial.set_user_attr("error", result.error or "the trace has no labelled puzzle")
                study.tell(trial, state=TrialState.FAIL)
            else:
                _tell(study, trial, score, limits)
            each(ended + 1)
            ended += 1
    finally:
        done.close()


def _tell(study: optuna.Study, trial: optuna.Trial, score: Score, limits: tuple[float | None, float | None]) -> None:
    least, most = limits
    violations = [
        least - score.accuracy if least is not None else -1.0,
        math.log(max(score.nfe_mean, LEAST_NFE) / most) if most is not None else -1.0,
    ]
    for key, value in (
        ("nfe", score.nfe_mean), ("puzzles", score.puzzles), ("calibration_error", score.calibration_error), ("violations", violations),
    ):  # fmt: skip
        trial.set_user_attr(key, value)
    for key, value in zip(("accuracy", "nfe"), violations, strict=True):
        trial.set_constraint(key, value)
    study.tell(trial, [score.accuracy, math.log10(max(score.nfe_mean, LEAST_NFE))])


def _violations(trial: FrozenTrial) -> tuple[float, ...]:
    return tuple(trial.user_attrs.get("violations", (-1.0, -1.0)))


def candidates(study: optuna.Study) -> list[Candidate]:
    """Return the trials that ended with a score."""
    return [
        Candidate(
            trial.number,
            PolicySpec(**json.loads(trial.user_attrs["policy"])),
            float(trial.values[0]),
            float(trial.user_attrs["nfe"]),
            all(value <= 0 for value in _violations(trial)),
        )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ]
