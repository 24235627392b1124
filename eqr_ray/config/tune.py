"""What a study is asked to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from eqr_ray.config.evaluate import Count, Fraction, PolicyConfig, Text, _no_bool
from eqr_ray.config.reading import Config, load_into
from eqr_ray.config.trace import NotNegative, Positive

KINDS = ("adaptive", "agreement", "adaptive_consistency", "bayes_factor", "fixed", "pool", "posterior")


class DynamicsConfig(Config):
    """Live runs over the dynamics of a checkpoint, on subsets that grow by successive halving."""

    puzzles: Text = Field(description="a labelled puzzle file, kept back from training and from every measurement")
    checkpoint: Text | None = Field(
        default=None, description="a bundled name, a path or a URI; left out, it follows from the task"
    )
    depth: Count = Field(default=32, description="D of the recorded trajectories")
    breadth: Count = Field(default=4, description="B of the recorded trajectories")
    first_puzzles: Count = Field(default=32, description="puzzles of the first rung")
    factor: Annotated[int, Field(ge=2)] = Field(
        default=4, description="how many times more puzzles the next rung has, and fewer trials"
    )
    rungs: Count = Field(default=3, description="rungs; the last one has first_puzzles * factor^(rungs - 1) puzzles")
    beta: tuple[NotNegative, NotNegative] = Field(default=(0.0, 0.3), description="range of the path noise")
    init_std: tuple[Positive, Positive] = Field(
        default=(0.25, 2.0), description="range of the spread of initial latents"
    )
    damping: tuple[NotNegative, NotNegative] = Field(default=(0.0, 0.5), description="range of λ")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where the network runs")


class TuneConfig(Config):
    """One study: two objectives, exact accuracy up and iterations a puzzle down. Give `trace`, or `dynamics` for live runs."""

    out: Text = Field(
        description="the folder that study, front and policies go to; one on s3:// is kept up to date as the study goes on"
    )
    trace: Text | None = Field(
        default=None, description="the labelled trace that policies are replayed on; local or s3://"
    )
    dynamics: DynamicsConfig | None = Field(
        default=None, description="tune the dynamics by live runs instead of a policy by replay"
    )
    policies: tuple[Text, ...] = Field(
        default=("posterior", "adaptive", "agreement"), description="the kinds of policy to try"
    )
    vary: tuple[Text, ...] = Field(
        default=(),
        description="the parameters to try, such as [price, first_depth]; left out, all. The others keep the defaults of their kind, "
        "depth and breadth the trace's",
    )
    policy: PolicyConfig = Field(
        default=PolicyConfig(), description="the policy that live runs of the dynamics are judged by"
    )
    trials: Count = Field(default=500, description="trials of the study, those of earlier sessions included")
    kept_back: Annotated[float, BeforeValidator(_no_bool), Field(gt=0, lt=1)] = Field(
        default=0.3,
        description="the share of the trace's puzzles that tuning does not see; the chosen policies are confirmed on them",
    )
    min_accuracy: Fraction | None = Field(default=None, description="constraint: least exact accuracy")
    max_nfe: Positive | None = Field(default=None, description="constraint: most iterations a puzzle")
    seed: Annotated[int, BeforeValidator(_no_bool)] = Field(
        default=0, ge=0, lt=2**31, description="of sampler and split"
    )
    storage: Text | None = Field(
        default=None, description="an RDB URL such as sqlite:///study.db; left out, a journal in the folder"
    )
    resume: bool = Field(default=False, description="true to go on with the study in the folder or storage")
    confirm: Text | None = Field(
        default=None, description="a labelled puzzle file that tuning did not see, for live runs of the chosen"
    )
    confirm_limit: Count = Field(default=200, description="puzzles of it")
    checkpoint: Text | None = Field(
        default=None, description="weights of the live confirmation; left out, those the trace names"
    )
    address: Text = Field(
        default="local",
        description="local for a Ray of its own, auto or host:port to join a cluster, none for this process alone",
    )
    workers: Count | None = Field(default=None, description="trials at a time; left out, one a core")

    @model_validator(mode="after")
    def _one_kind(self) -> TuneConfig:
        if (self.trace is None) == (self.dynamics is None):
            raise ValueError("a study needs either `trace` or `dynamics`; give one of them")
        unused = sorted({"policies", "vary"} & self.model_fields_set)
        if self.dynamics is not None and unused:
            raise ValueError(
                f"a study of the dynamics tries what `dynamics` bounds, not {' and '.join(unused)}; leave out {unused[0]}"
            )
        unknown = [name for name in self.policies if name not in KINDS]
        if unknown or not self.policies:
            raise ValueError(
                f"policies must be some of {', '.join(KINDS)}, got {list(self.policies)}; correct the list"
            )
        return self


def load_tune_config(
    path: str | Path | None, overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> TuneConfig:
    """Return the study that a YAML file, `key=value` overrides and options ask for; InputError, one sentence."""
    return load_into(TuneConfig, path, overrides, options)
