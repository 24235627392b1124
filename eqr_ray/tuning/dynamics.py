"""Tuning the dynamics of a checkpoint by live runs: path noise, spread of the initial latents, damping.

Each trial records the trajectories of a prefix of one seeded permutation of the puzzles, with its own dynamics, and is scored
by a policy replayed on them. Rungs multiply the puzzles by `factor`; a rung's best by non-domination, a share 1 / factor of them, go on
(Hyperband's inner loop, arXiv 1603.06560, with two objectives).
Invariants, asserted in tests/unit/tuning/test_dynamics.py: a trial of a later rung sees the puzzles of the earlier ones first; the
survivors of a rung are not dominated by those that it drops.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa
from optuna.trial import TrialState

from eqr_ray.config.tune import DynamicsConfig, TuneConfig
from eqr_ray.policy import Policy, policy_from
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.record import Record
from eqr_ray.runs.calibrate import write_text
from eqr_ray.runs.trace import PieceRecorder, known_columns
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.sim.trace import TRACE_SCHEMA, TraceFacts, unpack
from eqr_ray.tuning.storage import open_study
from eqr_ray.tuning.study import LEAST_NFE, sampler
from eqr_ray.types import InputError


@dataclass(frozen=True, slots=True)
class DynamicsPoint:
    """One setting of the dynamics and what it reached on a rung."""

    number: int
    beta: float
    init_std: float
    damping: float
    puzzles: int = 0
    accuracy: float = math.nan
    nfe_mean: float = math.nan


Measure = Callable[[DynamicsPoint, Sequence[Record]], tuple[float, float]]
"""(setting, puzzles) -> (accuracy, iterations a puzzle)."""


def survivors(points: Sequence[DynamicsPoint], n: int) -> list[DynamicsPoint]:
    """Return the n best: by the number of points that dominate them, then by accuracy, then by cost."""

    def dominated_by(own: DynamicsPoint) -> int:
        return sum(
            other.accuracy >= own.accuracy and other.nfe_mean <= own.nfe_mean
            and (other.accuracy > own.accuracy or other.nfe_mean < own.nfe_mean)
            for other in points
        )  # fmt: skip

    return sorted(points, key=lambda own: (dominated_by(own), -own.accuracy, own.nfe_mean, own.number))[:n]


def live_measure(config: TuneConfig, policy: Policy) -> Measure:
    """Return what records a setting's trajectories in this process and replays the policy on them."""
    from dataclasses import replace

    from eqr_ray.engine.factory import EngineSpec
    from eqr_ray.engine.recording import Dynamics, RecorderSpec
    from eqr_ray.model.matching import checkpoint_for

    own = config.dynamics
    assert own is not None

    def measure(point: DynamicsPoint, records: Sequence[Record]) -> tuple[float, float]:
        task = records[0].puzzle.task
        files = checkpoint_for(task, own.checkpoint)
        spec = RecorderSpec(EngineSpec(files, own.device), Dynamics(point.beta, point.init_std, point.damping))
        facts = TraceFacts(task, config.seed, own.depth, own.breadth, files.name, files.sha256)
        piece = [(record.puzzle.puzzle_id, record.puzzle.draw_key, record.puzzle.cells) for record in records]
        rows = PieceRecorder(spec, own.depth, own.breadth, config.seed)()(piece)
        rows = [
            {**row, **known_columns(place, record)}
            for place, (row, record) in enumerate(zip(rows, records, strict=True))
        ]
        facts = replace(facts, beta=point.beta, init_std=point.init_std, damping=point.damping)
        found = replay(policy, Playback(unpack(facts, pa.Table.from_pylist(rows, schema=TRACE_SCHEMA))))
        return found.accuracy, found.nfe_mean

    return measure


def run_dynamics(config: TuneConfig, measure: Measure | None = None) -> list[DynamicsPoint]:
    """Search the dynamics and write `dynamics.json`; returns the last rung, best first. InputError for bad input."""
    own = config.dynamics
    assert own is not None
    policy = policy_from(config.policy.name, own.depth, own.breadth, own.depth * own.breadth, **config.policy.params)
    records = _prefix(own, config.seed)
    measure = measure or live_measure(config, policy)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"dynamics-d{own.depth}-b{own.breadth}-n{own.first_puzzles}x{own.factor}"
    study = open_study(config.out, config.storage, name, sampler(0, config.seed), config.resume)
    study.sampler = sampler(len(study.get_trials(deepcopy=False)), config.seed)
    rung = _first_rung(study, config, own, records[: own.first_puzzles], measure)
    for k in range(1, own.rungs):
        n_puzzles = own.first_puzzles * own.factor**k
        kept = survivors(rung, max(1, len(rung) // own.factor))
        rung = [_measured(point, records[:n_puzzles], measure) for point in kept]
    rung = survivors(rung, len(rung))
    write_text(Path(config.out) / "dynamics.json", json.dumps([asdict(point) for point in rung], indent=1) + "\n")
    return rung


def _first_rung(
    study: optuna.Study, config: TuneConfig, own: DynamicsConfig, records: Sequence[Record], measure: Measure
) -> list[DynamicsPoint]:
    for stale in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(stale.number, state=TrialState.FAIL)
        study.enqueue_trial(stale.params)
    while len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))) < config.trials:
        trial = study.ask()
        beta = trial.suggest_float("beta", *own.beta)
        init_std = trial.suggest_float("init_std", *own.init_std)
        point = DynamicsPoint(trial.number, beta, init_std, trial.suggest_float("damping", *own.damping))
        measured = _measured(point, records, measure)
        trial.set_user_attr("nfe", measured.nfe_mean)
        study.tell(trial, [measured.accuracy, math.log10(max(measured.nfe_mean, LEAST_NFE))])
    found = []
    for ended in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        beta, init_std, damping = (float(ended.params[axis]) for axis in ("beta", "init_std", "damping"))
        accuracy, nfe_mean = float(ended.values[0]), float(ended.user_attrs["nfe"])
        found.append(DynamicsPoint(ended.number, beta, init_std, damping, len(records), accuracy, nfe_mean))
    return found


def _measured(point: DynamicsPoint, records: Sequence[Record], measure: Measure) -> DynamicsPoint:
    from dataclasses import replace

    accuracy, nfe_mean = measure(point, records)
    return replace(point, puzzles=len(records), accuracy=accuracy, nfe_mean=nfe_mean)


def _prefix(own: DynamicsConfig, seed: int) -> list[Record]:
    """Return the puzzles of the last rung in one seeded order, of which every rung takes the front."""
    records = [record for record in read_puzzles(own.puzzles) if record.answer is not None]
    needed = own.first_puzzles * own.factor ** (own.rungs - 1)
    if len(records) < needed:
        raise InputError(
            f"{own.puzzles} has {len(records)} puzzles with an answer, and the last rung needs {needed}; "
            "give more puzzles, or lower dynamics.first_puzzles or dynamics.rungs"
        )
    order = np.random.default_rng(seed).permutation(len(records))[:needed]
    return [records[i] for i in order.tolist()]
