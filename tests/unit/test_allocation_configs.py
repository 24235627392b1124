"""Every shipped configuration of tune and simulate is read as its command reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eqr_ray.config.simulate import load_simulate_config
from eqr_ray.config.tune import load_tune_config
from eqr_ray.types import InputError

CONFIGS = Path(__file__).parents[2] / "configs"
TUNE, SIMULATE = sorted((CONFIGS / "tune").glob("*.yaml")), sorted((CONFIGS / "simulate").glob("*.yaml"))


@pytest.mark.parametrize("path", TUNE, ids=lambda path: path.name)
def test_a_shipped_study_loads(path: Path) -> None:
    config = load_tune_config(path)
    assert (config.trace is None) != (config.dynamics is None)


def test_a_study_of_the_dynamics_refuses_what_it_would_ignore() -> None:
    with pytest.raises(InputError, match="not vary; leave out vary"):
        load_tune_config(CONFIGS / "tune" / "dynamics.yaml", ["vary=[price]"])


@pytest.mark.parametrize("path", SIMULATE, ids=lambda path: path.name)
def test_a_shipped_simulation_loads(path: Path) -> None:
    assert load_simulate_config(path).cluster.replicas >= 1


def test_there_are_shipped_ones() -> None:
    assert len(TUNE) >= 2
    assert SIMULATE
