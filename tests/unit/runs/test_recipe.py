import pytest
import torch

from eqr_ray.config import EvaluateConfig
from eqr_ray.distributed.shares import Node
from eqr_ray.runs.recipe import device_of, torch_recipe
from eqr_ray.types import InputError


def config(**changes: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate({"puzzles": "p.csv", "out": "out", **changes})


def test_weights_for_another_task_are_refused():
    with pytest.raises(InputError, match=r"answers sudoku6 puzzles, and p.csv holds sudoku9"):
        torch_recipe(config(checkpoint="sudoku6"), "sudoku9")


def test_a_task_without_weights_is_refused():
    with pytest.raises(InputError, match="no bundled checkpoint"):
        torch_recipe(config(), "sudoku25")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_this_machine_lacks_is_refused_only_when_no_other_is_to_help():
    with pytest.raises(InputError, match="cuda is not available"):
        torch_recipe(config(device="cuda"), "sudoku6")
    assert torch_recipe(config(device="cuda", address="auto"), "sudoku6").checkpoint is not None


def test_the_bundled_weights_of_the_task_are_the_default():
    recipe = torch_recipe(config(), "sudoku6")
    assert recipe.checkpoint is not None
    assert recipe.checkpoint.name == "sudoku6"
    assert recipe.checkpoint.parameters > 10_000
    assert recipe.nle_per_nfe is not None


def test_a_cluster_with_gpus_is_used_through_them_unless_asked_otherwise():
    nodes = [Node(8.0), Node(8.0, 2.0)]
    assert device_of(config(address="auto"), nodes) == "cuda"
    assert device_of(config(address="auto", device="cpu"), nodes) == "cpu"
    assert device_of(config(address="auto"), nodes[:1]) == "cpu"
