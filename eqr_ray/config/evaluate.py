"""What an evaluation is asked to do.

Invariants, asserted in tests/unit/test_config.py: D = 0, B = 0 or an NFE above D * B is refused with the rule and the
value; two configurations that would give different verdicts have a first difference, two that differ in where and how
fast they run have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from eqr_ray.config.reading import Config, load_into, read_mapping
from eqr_ray.config.scaling import ScalingConfig
from eqr_ray.types import InputError


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"a number is needed here, got {value}; write a number such as 1")
    return value


def _spell_infinities(params: object) -> object:
    """Write infinities as text, `inf` and `-inf`: they are fair thresholds, and JSON has no number for them."""
    if not isinstance(params, dict):
        return params
    return {k: str(v) if isinstance(v, float) and math.isinf(v) else v for k, v in params.items()}


Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]
Fraction = Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=1)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


class PolicyConfig(Config):
    """Which policy spends the budget, and how much one puzzle may be given."""

    name: Text = Field(default="balanced", description="a policy's name, or a YAML file that holds these keys")
    depth: Count | None = Field(
        default=None, description="D, iterations of one trajectory; leave it out for the policy's default"
    )
    breadth: Count | None = Field(
        default=None, description="B, trajectories of one puzzle; leave it out for the policy's default"
    )
    nfe: Count | None = Field(
        default=None, description="the iterations of one puzzle, at most D * B; leave it out for D * B"
    )
    params: Annotated[dict[str, bool | int | float | str | None], BeforeValidator(_spell_infinities)] = Field(
        default_factory=dict, description="the policy's own parameters, checked by the policy"
    )

    @model_validator(mode="after")
    def _nfe_fits(self) -> PolicyConfig:
        if self.nfe is not None and self.depth is not None and self.breadth is not None:
            most = self.depth * self.breadth
            if self.nfe > most:
                raise ValueError(
                    f"nfe must be in [1, depth * breadth = {most}], got nfe={self.nfe}; lower it or leave it out"
                )
        return self


class EvaluateConfig(Config):
    """One evaluation: puzzles in, verdicts, summary and report out. Relative paths start at the working folder."""

    puzzles: Text = Field(description="a puzzle file or a folder of them (CSV, text, Parquet), local or s3://")
    out: Text = Field(description="the folder that the results go to")
    checkpoint: Text | None = Field(
        default=None, description="a bundled name, a path or a URI; left out, it follows from the task"
    )
    task: Text | None = Field(default=None, description="a task such as sudoku9; left out, it follows from the puzzles")
    policy: PolicyConfig = Field(default=PolicyConfig(), description="the policy and its budget")
    seed: Annotated[int, BeforeValidator(_no_bool)] = Field(
        default=0, ge=0, lt=2**63, description="the run's seed, a whole number from 0 up"
    )
    limit: Count | None = Field(
        default=None, description="how many puzzles to take from the front; left out, all of them"
    )
    resume: bool = Field(default=False, description="true to go on with an interrupted run in the same folder")
    shard: Annotated[str, Field(pattern=r"^\d+/\d+$")] | None = Field(
        default=None,
        description="i/n to work on the i-th of n shares of the puzzles, beside other jobs on the same folder; see `eqr-ray merge`",
    )

    address: Text = Field(
        default="local", description="local for a Ray of its own, auto or host:port to join a cluster"
    )
    replicas: Count | None = Field(
        default=None, description="engine replicas; left out, one a core, or one a GPU share"
    )
    scaling: ScalingConfig = Field(
        default=ScalingConfig(), description="how a run grows and shrinks with its cluster, its end and its cost"
    )
    threads: Count | None = Field(default=None, description="CPU threads of a replica; left out, cores / replicas")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="where the network runs; auto takes what is there"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="the arithmetic; bfloat16 is faster on a GPU and moves accuracy a little"
    )
    compile: bool = Field(
        default=False,
        description="true to fuse the network's layers with torch.compile: faster after half a minute's start; needs a C++ compiler on "
        "every node",
    )
    gpus_per_replica: Fraction = Field(
        default=1.0, description="the share of a GPU that a replica takes, in (0, 1]; unused on a CPU"
    )
    slots: Count | None = Field(
        default=None,
        description="rows of a replica's batch: more are faster on a GPU; left out, the device's default",
    )
    slices_in_flight: Count = Field(
        default=2,
        description="slices ordered ahead of each replica: 1 leaves it waiting, above 2 slices run half filled",
    )
    slice_timeout_s: Seconds = Field(
        default=300.0,
        description="how long a slice may take before its replica is taken for lost and its work is given to another",
    )
    start_timeout_s: Seconds = Field(
        default=180.0, description="how long to wait for the first replica before giving up"
    )
    max_slice_tries: Count = Field(
        default=3,
        description="how many replicas a puzzle may kill, alone in a slice, before it is set aside with the verdict crashed",
    )

    @model_validator(mode="after")
    def _shard_is_one(self) -> EvaluateConfig:
        if self.shard is not None:
            index, n = map(int, self.shard.split("/"))
            if not 1 <= index <= n:
                raise ValueError(f"a shard i/n has i from 1 to n, got {self.shard}; write 1/4 to 4/4 for four shares")
        return self

    @model_validator(mode="after")
    def _one_number_of_replicas(self) -> EvaluateConfig:
        if self.replicas is not None and self.scaling.max_replicas is not None:
            raise ValueError(
                "replicas and scaling.max_replicas exclude each other: a fixed number or a limit; leave one out"
            )
        return self


_POLICY_FILES = (".yaml", ".yml", ".json")
_VERDICT_KEYS = ("puzzles", "task", "checkpoint", "policy", "seed", "dtype", "compile", "slots")
"""What a verdict can depend on; the rest says where, how long and how fast."""


def load_config(
    path: str | Path | None, overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> EvaluateConfig:
    """Return the evaluation that a YAML file, `key.sub=value` overrides and options (dotted key: value) ask for.

    Explicit options win over overrides, which win over the file. `policy` may name a YAML file with the keys of
    `PolicyConfig`; what is given beside it wins over that file. Raises InputError, one sentence.
    """
    config = load_into(EvaluateConfig, path, overrides, options)
    return config.model_copy(update={"policy": load_policy(config.policy)})


def policy_config(
    name: str | None = None, depth: int | None = None, breadth: int | None = None, nfe: int | None = None
) -> PolicyConfig:
    """Return the policy of a name or a policy file with a budget; None leaves a value out. Raises InputError."""
    return load_policy(
        load_into(PolicyConfig, None, (), {"name": name, "depth": depth, "breadth": breadth, "nfe": nfe})
    )


def load_policy(given: PolicyConfig) -> PolicyConfig:
    """Return `given`, or the policy of the file that its name points to with the other given keys put over it.

    In a policy file the policy's own parameters may stand beside `depth` and `breadth` as well as under `params`.
    """
    if not given.name.endswith(_POLICY_FILES):
        return given
    filed = read_mapping(given.name)
    if "name" not in filed:
        raise InputError(f"{given.name}: a policy file must give `name`; add a line such as `name: adaptive`")
    nested = filed.get("params") or {}
    if not isinstance(nested, dict):
        raise InputError(
            f"{given.name}: params must be a group of keys, got {nested!r}; write `params: {{key: value}}`"
        )
    own = {key: value for key, value in filed.items() if key not in PolicyConfig.model_fields} | nested
    over = {key: value for key, value in filed.items() if key in PolicyConfig.model_fields and key != "params"}
    over |= given.model_dump(exclude_unset=True, exclude={"name", "params"})
    over |= {f"params.{key}": value for key, value in (own | given.params).items()}
    try:
        policy = load_into(PolicyConfig, None, (), over)
    except InputError as problem:
        raise InputError(f"{given.name}: {problem}") from None
    if policy.name.endswith(_POLICY_FILES):
        raise InputError(
            f"{given.name}: name must be a policy's name, got {policy.name!r}; a policy file cannot point to another"
        )
    return policy


def first_difference(before: EvaluateConfig, now: EvaluateConfig) -> str | None:
    """Return the first key on which verdicts of two runs may differ, as `key: before -> now`; None if there is none."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    for key in _VERDICT_KEYS:
        if isinstance(old[key], dict):
            for sub in sorted(old[key].keys() | new[key].keys()):
                if old[key].get(sub) != new[key].get(sub):
                    return f"{key}.{sub}: {old[key].get(sub)!r} -> {new[key].get(sub)!r}"
        elif old[key] != new[key]:
            return f"{key}: {old[key]!r} -> {new[key]!r}"
    return None
