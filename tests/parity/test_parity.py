"""A converted published checkpoint gives the logits and halting logits of the reference implementation (see README.md here)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eqr_ray.model.checkpoint import Loaded, load
from eqr_ray.model.convert import convert_published
from eqr_ray.model.published import PublishedSettings

HERE = Path(__file__).parent
NETWORKS = {"sudoku9_mixer": None, "maze6x6_rope": "maze6x6", "sudoku4_rope2d": "sudoku4", "sudoku4_prefix": None}
CLOSE = 1e-4
"""Largest difference allowed in float32; stored latents keep rounding errors from growing by more than ten."""


def converted(name: str, folder: Path, **options: object) -> Loaded:
    convert_published(HERE / f"{name}.pth", folder, task=NETWORKS[name], **options)  # type: ignore[arg-type]
    return load(str(folder))


def differences(name: str, found: Loaded) -> tuple[float, float]:
    """Return the largest difference of logits and of q_halt over 16 iterations from the stored latents."""
    stored = np.load(HERE / f"{name}.npz")
    columns = list(found.spec.token_map)
    cells = torch.from_numpy(np.argsort(np.array(columns))[np.searchsorted(np.sort(columns), stored["inputs"])])
    z = torch.stack([torch.from_numpy(stored["z_H"]), torch.from_numpy(stored["z_L"])], dim=1)
    logits, q_halt = [], []
    with torch.inference_mode():
        x = found.model.embed(cells)
        for _ in range(16):
            z = found.model.iterate(z, x)
            logits.append(found.model.logits(z).numpy())
            q_halt.append(found.model.q_halt(z).numpy())
    reference = stored["logits"][..., columns]
    assert np.std(reference) > 0.3, "the stored logits would agree with anything"
    return float(np.abs(np.stack(logits) - reference).max()), float(np.abs(np.stack(q_halt) - stored["q_halt"]).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_q_halt_equal_the_reference_over_16_iterations(name: str, tmp_path: Path) -> None:
    logits, q_halt = differences(name, converted(name, tmp_path / name))
    assert logits <= CLOSE
    assert q_halt <= CLOSE


@pytest.mark.parametrize("name", NETWORKS)
def test_last_weights_are_not_the_averaged_ones_that_the_reference_used(name: str, tmp_path: Path) -> None:
    assert min(differences(name, converted(name, tmp_path / name, weights="model"))) > 100 * CLOSE


@pytest.mark.parametrize(
    "wrong",
    [
        PublishedSettings(damping=0.06),
        PublishedSettings(L_cycles=3),
        PublishedSettings(H_cycles=2),
        PublishedSettings(rope_base=100.0),
        PublishedSettings(position="none"),
        PublishedSettings(heads=4),
    ],
    ids=lambda settings: repr({k: v for k in settings.__slots__ if (v := getattr(settings, k)) is not None}),
)
def test_every_setting_shows_in_the_logits(wrong: PublishedSettings, tmp_path: Path) -> None:
    assert differences("maze6x6_rope", converted("maze6x6_rope", tmp_path / "w", overrides=wrong))[0] > 10 * CLOSE
