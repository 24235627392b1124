"""The operator: damping and noise by hand, where gradients stop, what the position codes and the prefix do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from eqr_ray.model.layers import attend, rms_norm, rotary_tables, rotate, shared_units, truncated_normal_
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec

COMPACT = ModelSpec(
    task="sudoku4", rows=4, cols=4, box_rows=2, box_cols=2, vocab=5, model_vocab=7, token_map=(1, 2, 3, 4, 5),
    hidden=16, heads=2, layers=2, L_cycles=3, damping=0.2,
)  # fmt: skip
PUBLISHED = dataclasses.replace(
    COMPACT, form="hierarchical", mixer="mlp", position="none", token_width=12, H_cycles=2, L_cycles=2, prefix_tokens=3
)
UNITS = dataclasses.replace(
    COMPACT, mixer="units", position="none", token_width=8, model_vocab=5, token_map=(0, 1, 2, 3, 4)
)
POSITIONS = ("none", "learned", "rope1d", "rope2d", "grid")


def network(spec: ModelSpec) -> EquilibriumReasoner:
    torch.manual_seed(0)
    return EquilibriumReasoner(spec)


def state(spec: ModelSpec, n: int = 2) -> tuple[Tensor, Tensor]:
    """Return latents and questions of n rows."""
    made = torch.Generator().manual_seed(1)
    z = torch.randn(n, spec.latents, spec.tokens, spec.hidden, generator=made)
    return z, torch.randint(0, spec.vocab, (n, spec.cells), generator=made)


def draws(spec: ModelSpec, n: int = 2) -> list[Tensor]:
    made = torch.Generator().manual_seed(2)
    return [torch.randn(n, spec.tokens, spec.hidden, generator=made) for _ in range(spec.draws_per_iteration)]


def undamped(model: EquilibriumReasoner, z: Tensor, injected: Tensor) -> Tensor:
    h = z + injected
    for layer in model.layers:
        h = layer(h)
    return h if model.spec.form == "hierarchical" else rms_norm(h, model.spec.norm_eps)


def test_compact_iteration_is_damped_blocks_with_a_draw_each() -> None:
    model, (z, cells), noise = network(COMPACT), state(COMPACT), draws(COMPACT)
    x, latent = model.embed(cells), z[:, 0]
    for k in range(3):
        latent = 0.2 * latent + 0.8 * undamped(model, latent, x) + 0.3 * noise[k]
    found = model.iterate(z, x, lambda site: noise[site], beta=0.3)
    torch.testing.assert_close(found, latent.unsqueeze(1))


def test_published_iteration_updates_the_low_latent_within_the_high_one() -> None:
    model, (z, cells), noise = network(PUBLISHED), state(PUBLISHED), iter(draws(PUBLISHED))
    x, (high, low) = model.embed(cells), z.unbind(1)
    for _ in range(2):
        for _ in range(2):
            low = 0.2 * low + 0.8 * undamped(model, low, high + x) + 0.1 * next(noise)
        high = 0.2 * high + 0.8 * undamped(model, high, low) + 0.1 * next(noise)
    used: list[int] = []

    def draw(site: int) -> Tensor:
        used.append(site)
        return draws(PUBLISHED)[site]

    found = model.iterate(z, x, draw, beta=0.1)
    torch.testing.assert_close(found, torch.stack([high, low], dim=1))
    assert used == list(range(PUBLISHED.draws_per_iteration))


@pytest.mark.parametrize("spec", [COMPACT, PUBLISHED])
def test_without_noise_or_with_beta_zero_nothing_is_drawn(spec: ModelSpec) -> None:
    model, (z, cells) = network(spec), state(spec)

    def refuse(site: int) -> Tensor:
        raise AssertionError("a draw was asked for")

    x = model.embed(cells)
    assert torch.equal(model.iterate(z, x), model.iterate(z, x, refuse, beta=0.0))


def test_beta_of_the_spec_is_used_unless_another_is_given() -> None:
    model, (z, cells), noise = network(dataclasses.replace(COMPACT, noise=0.25)), state(COMPACT), draws(COMPACT)
    x = model.embed(cells)
    assert torch.equal(model.iterate(z, x, noise.__getitem__), model.iterate(z, x, noise.__getitem__, beta=0.25))


def test_gradient_flows_through_the_last_cycles_alone() -> None:
    model, (z, cells) = network(dataclasses.replace(PUBLISHED, H_cycles=3)), state(PUBLISHED)
    start = z.requires_grad_()
    x = model.embed(cells)

    def gradient(grad_cycles: int | None) -> tuple[Tensor | None, Tensor]:
        start.grad = None
        model.zero_grad()
        following = model.iterate(start, x.detach(), grad_cycles=grad_cycles)
        following.square().mean().backward()
        weight = model.layers[0].mlp.down.weight.grad
        assert weight is not None
        return start.grad, weight.clone()

    cut, few = gradient(1)
    whole, all_ = gradient(None)
    three, same = gradient(3)
    assert cut is None or not cut.any()
    assert whole is not None
    assert whole.any()
    assert three is not None
    torch.testing.assert_close((three, same), (whole, all_))
    assert not torch.allclose(few, all_)
    # One cycle's gradient is that of a single cycle started where the others ended.
    one = dataclasses.replace(PUBLISHED, H_cycles=1)
    short = network(one)
    with torch.no_grad():
        late = network(dataclasses.replace(PUBLISHED, H_cycles=2)).iterate(z, x)
    short.iterate(late, x.detach()).square().mean().backward()
    torch.testing.assert_close(short.layers[0].mlp.down.weight.grad, few)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("form", ["compact", "hierarchical"])
def test_read_outs_have_their_shapes_in_every_form(position: str, form: str) -> None:
    spec = dataclasses.replace(COMPACT, position=position, form=form, prefix_tokens=2)  # type: ignore[arg-type]
    model, (z, cells) = network(spec), state(spec, n=3)
    z = model.iterate(z, model.embed(cells))
    assert z.shape == (3, spec.latents, 18, 16)
    assert model.logits(z).shape == (3, 16, 5)
    assert model.q_halt(z).shape == (3,)


def test_logits_are_those_of_the_tasks_tokens() -> None:
    model, (z, _) = network(PUBLISHED), state(PUBLISHED)
    whole = model.lm_head(z[:, 0])
    torch.testing.assert_close(model.logits(z), whole[:, 3:, 1:6])
    torch.testing.assert_close(model.q_halt(z), model.q_head(z[:, 0, 0])[:, 0])


def test_a_new_network_believes_in_no_answer() -> None:
    model, (z, _) = network(COMPACT), state(COMPACT)
    assert torch.equal(model.q_halt(z), torch.full((2,), -5.0))


def test_prefix_stands_in_front_of_the_cells() -> None:
    model, (_, cells) = network(PUBLISHED), state(PUBLISHED)
    with torch.no_grad():
        model.prefix.copy_(torch.arange(48.0).view(3, 16))
    x = model.embed(cells)
    torch.testing.assert_close(x[1, :3], 4 * model.prefix)
    torch.testing.assert_close(x[:, 3:], 4 * model.embedding[cells + 1])


@pytest.mark.parametrize("position", POSITIONS)
def test_position_codes_tell_cells_apart_where_they_should(position: str) -> None:
    """Swap two cells of one row: without a position code the result is swapped too, with one it is another."""
    spec = dataclasses.replace(COMPACT, position=position)  # type: ignore[arg-type]
    model, (z, cells) = network(spec), state(spec)
    order = torch.arange(16)
    order[[0, 3]] = order[[3, 0]]
    with torch.no_grad():
        plain = model.iterate(z, model.embed(cells))[:, :, order]
        swapped = model.iterate(z[:, :, order], model.embed(cells[:, order]))
    assert torch.allclose(plain, swapped, atol=1e-4) == (position == "none")


@pytest.mark.parametrize("position", ["rope1d", "rope2d"])
def test_rotation_keeps_lengths_and_makes_scores_depend_on_distance_alone(position: str) -> None:
    spec = dataclasses.replace(COMPACT, position=position)  # type: ignore[arg-type]
    cos, sin = rotary_tables(spec)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(3)).unbind(0)
    turned_q, turned_k = (rotate(v.expand(16, 8), cos, sin, 2 if position == "rope2d" else 1) for v in (q, k))
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(16))
    scores = turned_q @ turned_k.T
    torch.testing.assert_close(scores[0, 1], scores[5, 6])
    torch.testing.assert_close(scores[1, 7], scores[9, 15])
    assert not torch.isclose(scores[0, 1], scores[0, 2])
    # One step down the board is four tokens: in 2D another direction, in 1D a longer step in the same one.
    one_row = torch.isclose(scores[0, 4], scores[3, 7])
    assert one_row


def test_rotation_by_hand() -> None:
    quarter = torch.tensor([[0.0, 0.0]]), torch.tensor([[-1.0, 1.0]])
    assert torch.equal(rotate(torch.tensor([[3.0, 5.0]]), *quarter, groups=1), torch.tensor([[-5.0, 3.0]]))


def test_shared_units_are_rows_columns_and_boxes() -> None:
    units = shared_units(dataclasses.replace(COMPACT, position="grid", prefix_tokens=1))
    assert units.shape == (3, 17, 17)
    assert not units[:, 0].any()
    assert not units[:, :, 0].any()
    sharing = {
        kind: set(units[k, 1 + 5, 1:].nonzero().flatten().tolist()) for k, kind in enumerate(("row", "col", "box"))
    }
    assert sharing == {"row": {4, 5, 6, 7}, "col": {1, 5, 9, 13}, "box": {0, 1, 4, 5}}


def test_without_boxes_the_third_unit_is_the_shared_edge() -> None:
    units = shared_units(dataclasses.replace(COMPACT, position="grid", box_rows=0, box_cols=0))
    around = {cell: set(units[2, cell].nonzero().flatten().tolist()) for cell in (0, 5)}
    assert around == {0: {1, 4}, 5: {1, 4, 6, 9}}


def test_attention_in_training_equals_attention_in_inference() -> None:
    made = torch.Generator().manual_seed(4)
    q, k, v = torch.randn(3, 2, 2, 9, 8, generator=made).unbind(0)
    bias = torch.randn(2, 9, 9, generator=made)
    for given in (None, bias):
        trained = attend(q, k, v, given)
        with torch.no_grad():
            torch.testing.assert_close(attend(q, k, v, given), trained)


def test_weights_have_the_spread_that_was_asked_for() -> None:
    x = truncated_normal_(torch.empty(200_000), 0.3, torch.Generator().manual_seed(5))
    assert abs(float(x.std()) - 0.3) < 0.003
    assert float(x.abs().max()) <= 0.6 / 0.8796


@pytest.mark.parametrize("spec", [COMPACT, PUBLISHED, dataclasses.replace(COMPACT, position="grid"), UNITS])
def test_half_precision_stays_near_single(spec: ModelSpec) -> None:
    model, (z, cells) = network(spec), state(spec)
    with torch.no_grad():
        exact = model.iterate(z, model.embed(cells))
        half = model.to(torch.bfloat16)
        found = half.iterate(z.bfloat16(), half.embed(cells))
    assert found.dtype == torch.bfloat16
    assert half.logits(found).dtype == half.q_halt(found).dtype == torch.float32
    assert float((found.float() - exact).square().mean().sqrt()) < 0.05
