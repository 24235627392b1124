"""Every shipped training recipe loads and describes a network that can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from eqr_ray.config.reading import load_into
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.settings import TrainSettings

RECIPES = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_loads_and_its_network_has_at_most_two_million_weights(recipe: Path) -> None:
    settings = load_into(TrainSettings, recipe)
    assert settings.task == recipe.stem
    assert 100_000 < EquilibriumReasoner(settings.network.spec(settings.task)).n_parameters < 2_000_000


def test_there_are_recipes() -> None:
    assert {recipe.stem for recipe in RECIPES} >= {"sudoku6", "sudoku9"}
