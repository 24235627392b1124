"""Every shipped training recipe loads and describes a network that can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from eqr_ray.config.reading import load_into
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.settings import TrainSettings

RECIPES = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_loads_and_its_network_is_as_small_as_its_name_says(recipe: Path) -> None:
    settings = load_into(TrainSettings, recipe)
    assert recipe.stem.startswith(settings.task) or settings.task.startswith(recipe.stem)
    most = 5_200_000 if recipe.stem.endswith("-eqr") else 2_000_000
    assert 100_000 < EquilibriumReasoner(settings.network.spec(settings.task)).n_parameters < most


def test_the_published_recipe_has_the_published_network() -> None:
    settings = load_into(TrainSettings, next(recipe for recipe in RECIPES if recipe.stem == "sudoku9-eqr"))
    spec = settings.network.spec(settings.task)
    assert spec.nle_per_iteration == 42
    assert 4_800_000 < EquilibriumReasoner(spec).n_parameters < 5_000_000


def test_there_are_recipes() -> None:
    assert {recipe.stem for recipe in RECIPES} >= {"sudoku6", "sudoku9"}


ABLATION = sorted((Path(__file__).parents[3] / "configs" / "train" / "ablation").glob("*.yaml"))


def test_rows_of_the_ablation_differ_in_what_they_are_named_for_and_in_nothing_else() -> None:
    rows = {recipe.stem: load_into(TrainSettings, recipe) for recipe in ABLATION}
    assert set(rows) == {"feedforward", "weight-tied", "sot", "sot-ri", "sot-ri-ni"}
    work = {
        plan.steps * plan.batch * plan.segment_iterations * plan.network.layers * plan.network.L_cycles
        for plan in rows.values()
    }
    assert len(work) == 1, "all rows get the same number of layer evaluations"
    assert {plan.network.random_init for name, plan in rows.items() if "ri" in name} == {True}
    assert {plan.network.random_init for name, plan in rows.items() if "ri" not in name} == {False}
    assert [name for name, plan in rows.items() if plan.network.noise > 0] == ["sot-ri-ni"]
    for plan in rows.values():
        assert (plan.task, plan.sources, plan.reveal) == (rows["sot"].task, rows["sot"].sources, rows["sot"].reveal)
        assert EquilibriumReasoner(plan.network.spec(plan.task)).n_parameters < 2_000_000
