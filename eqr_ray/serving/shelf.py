"""The models and policies of an endpoint by name.

Invariants, asserted in tests/serving/test_http.py: what is listed can be asked for; a request's model and task agree; a budget beyond
the limits is refused with the limit's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from eqr_ray.policy import Calibration, Policy, policy_from, policy_names, shipped_policies
from eqr_ray.puzzles.task import Task, infer_task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.serving.drive import Motor
from eqr_ray.serving.settings import Limits, ServeConfig
from eqr_ray.types import InputError

if TYPE_CHECKING:
    from eqr_ray.engine.factory import EngineSpec


@dataclass(frozen=True, slots=True)
class Model:
    """What a caller may know of a model."""

    name: str
    task: str
    sha256: str
    parameters: int
    nle_per_iteration: int
    """Layers that one iteration evaluates."""
    calibration: Calibration | None = None
    """What policies know of it; None where nothing was fitted."""


@dataclass(frozen=True, slots=True)
class Stock:
    """A model and how to build its engine."""

    model: Model
    make: Callable[[], Motor]
    """Builds the engine where it will run."""


def torch_stock(config: ServeConfig) -> list[Stock]:
    """Read and check the checkpoints that the configuration names, or all bundled ones; InputError if one cannot be used."""
    from eqr_ray.engine.factory import EngineSpec, pick_device
    from eqr_ray.model.calibration import calibration_of
    from eqr_ray.model.checkpoint import build, bundled, fetch
    from eqr_ray.model.matching import checkpoint_for

    named = config.models or {name: name for name in bundled()}
    if not named:
        raise InputError(
            "an endpoint needs a model, and no checkpoint is bundled; give models as `models: {NAME: CHECKPOINT}`"
        )
    stock = []
    for name, reference in named.items():
        weights, _, task = reference.partition(" for ")
        files = checkpoint_for(find_task(task).name, weights, f"models.{name}") if task else fetch(weights)
        find_task(files.spec.task)
        parameters = build(files).model.n_parameters
        layers = files.spec.nle_per_iteration
        model = Model(name, files.spec.task, files.sha256, parameters, layers, calibration_of(files))
        spec = EngineSpec(
            files, pick_device(config.device), config.dtype, threads_of(config), config.slots, compiled=config.compile
        )
        stock.append(Stock(model, partial(_motor, spec)))
    return stock


def _motor(spec: EngineSpec) -> Motor:
    engine = spec()
    return Motor(engine, sum(lane.tile for lane in engine.lanes))


def threads_of(config: ServeConfig) -> int:
    """Return the CPU threads of one replica: those asked for, or an even part of this machine's cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return config.threads or max(1, cores // config.scaling.min_replicas)


class Shelf:
    """Finds the model and the policy that a request asks for."""

    def __init__(self, models: Mapping[str, Model], config: ServeConfig) -> None:
        self.models = dict(models)
        self._limits = config.limits
        self._default_policy = config.default_policy
        self._own = {name: given.model_dump() for name, given in config.policies.items()}
        self.policy(self._default_policy)
        for name in self._own:
            self.policy(name)

    @property
    def policy_names(self) -> tuple[str, ...]:
        """Names that a request may give: the configuration's, the tuned ones and the registry's kinds."""
        return tuple(dict.fromkeys((*self._own, *shipped_policies(), *policy_names())))

    @property
    def featured(self) -> tuple[str, ...]:
        """Those of the names that are made to be chosen: own and tuned ones, the default, and the yardstick."""
        return tuple(dict.fromkeys((*self._own, *shipped_policies(), self._default_policy, "fixed")))

    @property
    def default_policy(self) -> str:
        """The policy of a request that names none."""
        return self._default_policy

    def find(self, model: str | None, task: str | None, question: str) -> tuple[Model, Task]:
        """Return the model of a name, or the first for the task, which the question shows when it is not named."""
        if model is not None:
            if model not in self.models:
                raise InputError(
                    f"model must be one of {', '.join(self.models)}, got {model[:60]!r}; see GET /v1/models"
                )
            found = self.models[model]
            if task is not None and find_task(task).name != found.task:
                raise InputError(f"model {model} answers {found.task}, got task={task[:60]!r}; leave one of them out")
            return found, find_task(found.task)
        rules = find_task(task) if task is not None else infer_task(question)
        for found in self.models.values():
            if found.task == rules.name:
                return found, rules
        have = ", ".join(sorted({known.task for known in self.models.values()}))
        raise InputError(f"no model here answers {rules.name}; this endpoint answers {have}")

    def policy(
        self, name: str | None, depth: int | None = None, breadth: int | None = None, nfe: int | None = None
    ) -> Policy:
        """Return the policy of a name with a budget; InputError for what does not exist and what is beyond the limits."""
        name = name or self._default_policy
        if name in self._own:
            own = self._own[name]
            budget = {"depth": depth, "breadth": breadth, "nfe": nfe}
            if any(budget.values()):
                # A cap made for another D and B would refuse budgets that the caller is free to ask for.
                budget = {key: value or (None if key == "nfe" else own[key]) for key, value in budget.items()}
            else:
                budget = {key: own[key] for key in budget}
            policy = policy_from(own["name"], **budget, **own["params"])
        elif name in self.policy_names:
            policy = policy_from(name, depth, breadth, nfe)
            if nfe is None and (depth is None) != (breadth is None) and policy.budget.nfe > self._limits.nfe:
                # The caller named one factor of D x B, and the other is the policy's own: the product is not what was asked for.
                policy = policy_from(name, depth, breadth, self._limits.nfe)
        else:
            raise InputError(
                f"policy must be one of {', '.join(self.policy_names)}, got {name[:60]!r}; see GET /v1/models"
            )
        self._check(policy, self._limits)
        return policy

    @staticmethod
    def _check(policy: Policy, limits: Limits) -> None:
        for key in ("depth", "breadth", "nfe"):
            most, asked = getattr(limits, key), getattr(policy.budget, key)
            if asked > most:
                raise InputError(f"{key} must be at most {most} at this endpoint, got {key}={asked}; lower it")
