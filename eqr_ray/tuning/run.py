"""A whole study: split the trace, search, choose, confirm, write.

Invariants, asserted in tests/cli/test_trace_commands.py: the puzzles that confirm the chosen policies are none of those
that chose them; the files written build policies that other commands take; a study begun again without `resume` is refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
import yaml
from tqdm import tqdm

from eqr_ray.config.tune import TuneConfig
from eqr_ray.distributed.crew import Crew, Done, work_here
from eqr_ray.evaluation.landscape_charts import Plot
from eqr_ray.policy import Calibration, PolicySpec, calibrated, shipped_policies, spec_of
from eqr_ray.runs.calibrate import write_text
from eqr_ray.sim.calibrating import fit
from eqr_ray.sim.trace import Trace, read_trace
from eqr_ray.tuning.front import Candidate, chosen, front
from eqr_ray.tuning.space import Space
from eqr_ray.tuning.storage import open_study
from eqr_ray.tuning.study import Workers, candidates, sampler, search
from eqr_ray.tuning.trials import ReplayTrials, Score, Task
from eqr_ray.types import InputError

if TYPE_CHECKING:
    from eqr_ray.evaluation.summary import Summary

log = logging.getLogger(__name__)
FRONT_FIELDS = ("trial", "accuracy", "nfe_mean", "policy")


@dataclass(frozen=True, slots=True)
class Named:
    """A chosen policy and what it reached."""

    name: str
    spec: PolicySpec
    seen: Score
    kept_back: Score
    live: Summary | None = None


@dataclass(frozen=True, slots=True)
class TuneSummary:
    """What a study found."""

    trials: int
    failed: int
    puzzles: int
    """Of the trace that tuning saw."""
    front: tuple[Candidate, ...]
    named: tuple[Named, ...]
    out: str


def run_tune(config: TuneConfig, quiet: bool = False) -> TuneSummary:
    """Run or continue a study over policies and write front, plot and the chosen policies; InputError for bad input."""
    assert config.trace is not None
    return tune_on(read_trace(config.trace), config, quiet)


def tune_on(trace: Trace, config: TuneConfig, quiet: bool = False) -> TuneSummary:
    """Run or continue a study on a trace that is at hand; see `run_tune`."""
    trace = trace.take(np.flatnonzero(trace.labelled))
    seen, kept_back = split(trace, config.kept_back, config.seed)
    space = Space(config.policies, trace.facts.depth, trace.facts.breadth, config.vary)
    known = _calibration(seen, config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    identity = json.dumps([asdict(trace.facts), len(trace), config.kept_back, config.seed, trace.puzzles[0].puzzle_id])
    name = f"policy-{space.digest()}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    study = open_study(config.out, config.storage, name, sampler(0, config.seed), config.resume)
    n_before = len(study.get_trials(deepcopy=False))
    study.sampler = sampler(n_before, config.seed)
    starts = space.starts([*config.policies, *shipped_policies()])
    with (
        _workers(config, ReplayTrials(seen, known)) as workers,
        tqdm(
            total=config.trials, initial=min(n_before, config.trials), disable=True if quiet else None, unit="trial"
        ) as bar,
    ):
        search(
            study,
            space,
            starts,
            config.trials,
            workers,
            (config.min_accuracy, config.max_nfe),
            lambda n: bar.update(n - bar.n),
        )
    points = front(candidates(study))
    scored, confirmed = ReplayTrials(seen, known)(), ReplayTrials(kept_back, known)()
    named = []
    for title, candidate in chosen(points).items():
        spec = spec_of(calibrated(candidate.spec.build(), known))
        named.append(
            Named(title, spec, scored(Task(0, spec)), confirmed(Task(0, spec)), _live(config, title, spec, trace))
        )
    write_results(config.out, points, named)
    # A study of fewer trials than it has starting points leaves some of these waiting.
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    n_trials, failed = sum(state.is_finished() for state in states), states.count(optuna.trial.TrialState.FAIL)
    return TuneSummary(n_trials, failed, len(seen), tuple(points), tuple(named), config.out)


def split(trace: Trace, kept_back: float, seed: int) -> tuple[Trace, Trace]:
    """Return the puzzles that tuning sees and those that confirm; InputError where either would be empty."""
    n_back = round(kept_back * len(trace))
    if not 0 < n_back < len(trace):
        raise InputError(
            f"a study needs puzzles with an answer to tune on and to confirm with, got {len(trace)} in all; record more"
        )
    order = np.random.default_rng(seed).permutation(len(trace))
    return trace.take(np.sort(order[n_back:])), trace.take(np.sort(order[:n_back]))


def _calibration(seen: Trace, config: TuneConfig) -> Calibration | None:
    """Fit what calibrated policies read on the puzzles that tuning sees, so that those kept back stay unseen."""
    if not {"posterior", "pool"} & set(config.policies):
        return None
    from eqr_ray.policy import policy_from

    try:
        return fit(seen, policy_from("posterior").budget.halt)
    except InputError as problem:
        log.warning("tuning with the fall-back: %s", problem)
        return None


class _workers:
    """Who runs the trials: actors of a Ray, or this process; a context that keeps the Ray up."""

    def __init__(self, config: TuneConfig, recipe: ReplayTrials) -> None:
        from contextlib import ExitStack

        self._config, self._recipe, self._stack = config, recipe, ExitStack()

    def __enter__(self) -> Workers:
        config, recipe = self._config, self._recipe
        if config.address == "none":
            return lambda tasks: work_here(recipe, tasks)
        from eqr_ray.distributed.cluster import connect
        from eqr_ray.distributed.shares import Share, capacity

        cluster = self._stack.enter_context(connect(config.address))
        share = Share(1.0, 0.0, 1)
        size = config.workers or max(1, capacity(cluster.nodes(), share))

        def crew(tasks: Iterator[Task]) -> Generator[Done[Task, Score], None, None]:
            return Crew(recipe, share, size, tries=1).work(tasks)

        return crew

    def __exit__(self, *ended: object) -> None:
        self._stack.close()


def _live(config: TuneConfig, title: str, spec: PolicySpec, trace: Trace) -> Summary | None:
    if config.confirm is None:
        return None
    from eqr_ray.config import load_config
    from eqr_ray.runs.evaluate import run_evaluation

    policy = {f"policy.{key}": value for key, value in spec.as_dict().items() if key != "params"}
    policy |= {f"policy.params.{key}": value for key, value in dict(spec.as_dict()["params"]).items()}  # type: ignore[call-overload]
    options: dict[str, object] = {
        "puzzles": config.confirm, "limit": config.confirm_limit, "out": f"{config.out}/confirm-{title}",
        "checkpoint": config.checkpoint or trace.facts.checkpoint, "replicas": config.workers, "resume": config.resume,
        "address": "local" if config.address == "none" else config.address, **policy,
    }  # fmt: skip
    return run_evaluation(load_config(None, (), options), quiet=True)


def write_results(out: str, points: list[Candidate], named: list[Named]) -> None:
    """Write `front.csv`, `front.svg`, `tuned.json` and one YAML for each chosen policy."""
    folder = Path(out)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(FRONT_FIELDS)
    for own in points:
        writer.writerow([own.number, f"{own.accuracy:.6f}", f"{own.nfe_mean:.3f}", json.dumps(own.spec.as_dict())])
    write_text(folder / "front.csv", table.getvalue())
    write_text(folder / "front.svg", str(front_chart(points, named)) + "\n")
    facts = [
        {"name": own.name, "policy": own.spec.as_dict(), "seen": asdict(own.seen), "kept_back": asdict(own.kept_back)}
        for own in named
    ]
    write_text(folder / "tuned.json", json.dumps(facts, indent=1) + "\n")
    for tuned in named:
        plain = {key: value for key, value in tuned.spec.as_dict().items() if value is not None}
        head = (
            f"# {tuned.name}: chosen from {len(points)} points of a Pareto front; see tuned.json for what it reached.\n"
        )
        write_text(folder / f"{tuned.name}.yaml", head + yaml.safe_dump(plain, sort_keys=False))


def front_chart(points: list[Candidate], named: list[Named]) -> str:
    """Return the front as SVG: accuracy against iterations a puzzle, log scale."""
    if not points:
        return str(Plot((1, 10), (0, 1)).svg("An empty front"))
    costs, rights = [own.nfe_mean for own in points], [own.accuracy for own in points]
    low = max(0.0, min(rights) - 0.05)
    plot = Plot((min(costs) * 0.8, max(costs) * 1.25), (low, 1.0), log_x=True)
    ticks = [
        v
        for v in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
        if min(costs) * 0.8 <= v <= max(costs) * 1.25
    ]
    plot.axes(
        ticks, [round(low + (1 - low) * k / 4, 3) for k in range(5)], "iterations a puzzle (NFE), log", "exact accuracy"
    )
    plot.line(list(zip(costs, rights, strict=True)), 0)
    for own in named:
        plot.line([(own.seen.nfe_mean, own.seen.accuracy)], 1)
        plot.label(own.seen.nfe_mean, own.seen.accuracy, own.name)
    return str(plot.svg("Pareto front of accuracy and iterations"))
