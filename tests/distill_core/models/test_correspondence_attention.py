"""Letters as in the module: B views, N neighbours, K places of a window, C channels."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from distill_core.correspondences import Correspondences
from distill_core.models.blocks import fourier_features
from distill_core.models.correspondence_attention import CorrespondenceAttention
from distill_core.models.correspondence_tuning import CorrespondenceTuned, corresponding_pixels
from distill_core.models.settings import ViewNetworkSettings
from distill_core.models.view_network import ViewNetwork
from tests.distill_core.distillation import toys

VIEWS, NEIGHBOURS, CHANNELS, HEIGHT, WIDTH = 4, 2, 8, 5, 6


def random_weights(module: nn.Module) -> nn.Module:
    """Layers that begin at zero would hide what passes through them."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module


@pytest.fixture
def attention() -> nn.Module:
    return random_weights(CorrespondenceAttention(CHANNELS, heads=2).double())


@pytest.fixture
def features() -> Tensor:
    return torch.randn(VIEWS, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)


@pytest.fixture
def pixels() -> Correspondences:
    generator = torch.Generator().manual_seed(4)
    positions = torch.rand(VIEWS, NEIGHBOURS, HEIGHT, WIDTH, 2, generator=generator, dtype=torch.float64)
    positions = positions * torch.tensor([WIDTH, HEIGHT])
    visible = torch.rand(VIEWS, NEIGHBOURS, HEIGHT, WIDTH, generator=generator) > 0.3
    return Correspondences(torch.tensor([[1, 3], [0, 2], [3, 1], [2, 0]]), positions, visible)


def test_it_begins_without_effect(features, pixels):
    assert torch.equal(CorrespondenceAttention(CHANNELS).double()(features, pixels), features)


def interpolated(picture: Tensor, column: float, row: float) -> Tensor:
    """[C] of [C, h, w] at a position whose pixel centres are at halves; the border goes on."""
    column, row = min(max(column - 0.5, 0), WIDTH - 1), min(max(row - 0.5, 0), HEIGHT - 1)
    left, top = math.floor(column), math.floor(row)
    right, bottom = min(left + 1, WIDTH - 1), min(top + 1, HEIGHT - 1)
    across, down = column - left, row - top
    upper = (1 - across) * picture[:, top, left] + across * picture[:, top, right]
    lower = (1 - across) * picture[:, bottom, left] + across * picture[:, bottom, right]
    return (1 - down) * upper + down * lower


def one_by_one(attention: CorrespondenceAttention, features: Tensor, pixels: Correspondences, view, row, column):
    """What a pixel becomes, written down place by place."""
    normal = attention.norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def code(x: float, y: float) -> Tensor:
        offset = torch.tensor([[x, y]], dtype=torch.float64) / 2
        return attention.code(fourier_features(offset, 2))[0]

    told = [
        interpolated(normal[neighbour], float(x) + dx, float(y) + dy) + code(dx, dy)
        for neighbour, (x, y), visible in zip(
            pixels.neighbours[view], pixels.positions[view, :, row, column], pixels.visible[view, :, row, column],
            strict=True,
        )
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        if visible and 0 <= x + dx <= WIDTH and 0 <= y + dy <= HEIGHT
    ]  # fmt: skip
    own = features[view, :, row, column]
    if told:
        places = torch.stack(told)
        query = attention.query(normal[view, :, row, column] + code(0, 0)).reshape(2, -1)
        keys, values = (layer(places).reshape(len(places), 2, -1) for layer in (attention.key, attention.value))
        weights = torch.einsum("ed,ked->ek", query, keys).div(math.sqrt(CHANNELS / 2)).softmax(1)
        own = own + attention.out(torch.einsum("ek,ked->ed", weights, values).flatten())
    return own + attention.feed_forward(own)


def test_it_is_what_its_definition_says(attention, features, pixels):
    result = attention(features, pixels)
    for view, row, column in [(0, 0, 0), (1, 4, 5), (2, 2, 3), (3, 1, 0), (0, 4, 2), (2, 0, 5)]:
        expected = one_by_one(attention, features, pixels, view, row, column)
        torch.testing.assert_close(result[view, :, row, column], expected)


def test_neighbours_that_do_not_show_the_point_have_no_influence(attention, features, pixels):
    blind = pixels.visible.clone()
    blind[0, 1] = False
    pixels = replace(pixels, visible=blind)
    before = attention(features, pixels)[0]
    for value in (100.0, float("inf"), float("nan")):
        changed = features.clone()
        changed[3] = value  # the neighbour of view 0 that is hidden from it; its other one is view 1
        assert torch.equal(attention(changed, pixels)[0], before)
    nowhere = pixels.positions.clone()
    nowhere[0, 1] = float("nan")
    assert torch.equal(attention(features, replace(pixels, positions=nowhere))[0], before)
    seen = features.clone()
    seen[1] += 1.0 + torch.randn_like(seen[1])
    assert not torch.equal(attention(seen, pixels)[0], before)


def test_a_pixel_that_nobody_else_sees_keeps_to_itself(attention, features, pixels):
    alone = replace(pixels, visible=torch.zeros_like(pixels.visible))
    tokens = features.permute(0, 2, 3, 1)
    expected = (tokens + attention.feed_forward(tokens)).permute(0, 3, 1, 2)
    torch.testing.assert_close(attention(features, alone), expected)
    inputs = features.clone().requires_grad_()
    attention(inputs, alone).sum().backward()
    assert bool(torch.isfinite(inputs.grad).all())
    for parameter in attention.parameters():
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all())


def test_permuting_views_permutes_results(attention, features, pixels):
    order = torch.tensor([2, 0, 3, 1])
    turned = Correspondences(order.argsort()[pixels.neighbours[order]], pixels.positions[order], pixels.visible[order])
    torch.testing.assert_close(attention(features[order], turned), attention(features, pixels)[order])


def test_the_order_of_neighbours_does_not_matter(attention, features, pixels):
    turned = Correspondences(pixels.neighbours.flip(1), pixels.positions.flip(1), pixels.visible.flip(1))
    torch.testing.assert_close(attention(features, turned), attention(features, pixels))


SETTINGS = ViewNetworkSettings(
    resolution_px=16, patch_px=4, widths=(16, 16, 32), blocks=1, embedding=16, fine_channels=8
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return random_weights(ViewNetwork(SETTINGS, source_features=16).eval())


def test_a_tuned_network_begins_as_the_network_and_trains_the_attention_alone(network):
    tuned = CorrespondenceTuned(network)
    condition = toys.condition(2, 3, 16)
    noisy, time = torch.randn(6, 4, 16, 16), torch.full((6,), 0.5)
    assert torch.equal(tuned(noisy, time, condition), network(noisy, time, condition))
    target = torch.zeros_like(noisy)
    functional.mse_loss(tuned(noisy, time, condition), target).backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    gradients = [part.grad for name, part in tuned.attentions.named_parameters() if name.endswith("out.weight")]
    assert len(gradients) == 2
    assert any(gradient is not None and float(gradient.abs().max()) > 0 for gradient in gradients)
    # Nothing is left in the network that was lent.
    assert not any(module._forward_hooks for module in network.modules())


def test_tuned_views_hear_of_their_own_set_alone(network):
    tuned = CorrespondenceTuned(network)
    random_weights(tuned.attentions)
    condition = toys.condition(2, 3, 16)
    # A ball that all views see, so that pixels correspond.
    ball = replace(
        condition.guide,
        mask=torch.ones_like(condition.guide.mask),
        depth=torch.zeros_like(condition.guide.depth),
    )
    condition = replace(condition, guide=ball)
    assert bool(corresponding_pixels(condition, 4, 4).visible.any())
    noisy, time = torch.randn(6, 4, 16, 16), torch.full((6,), 0.5)
    before = tuned(noisy, time, condition)
    assert not torch.allclose(before, network(noisy, time, condition))
    changed = noisy.clone()
    changed[5] += 1
    torch.testing.assert_close(tuned(changed, time, condition)[:3], before[:3], atol=1e-5, rtol=1e-5)
    one = tuned(noisy[:3], time[:3], condition.select_sets(torch.tensor([0])))
    torch.testing.assert_close(one, before[:3], atol=1e-4, rtol=1e-4)


def test_a_guide_without_depth_corresponds_to_nothing():
    condition = toys.condition(1, 3, 16)
    parts = torch.tensor([[False, True, False]]).expand(3, 3)
    dropped = replace(condition, guide=condition.guide.dropped(parts))
    assert not corresponding_pixels(dropped, 4, 4).visible.any()
    single = toys.condition(2, 1, 16)
    assert corresponding_pixels(single, 4, 4).visible.shape == (2, 0, 4, 4)
