import pytest
import torch

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import orbit_camera
from distill_core.diffusion.schedules import VarianceExploding
from distill_core.guide import Guide
from distill_core.models.condition import ViewCondition
from distill_core.rays import stack_cameras
from gs_integration.texturing.texture_denoising import ChanneledTexture
from gs_integration.texturing.texture_feedback import FedBack, known_views, with_known_colours
from gs_integration.texturing.texture_projection import TextureProjection
from tests.renderers.texturable_meshes import charted_box

SIDE = 32
VIEWS = 6


@pytest.fixture(scope="module")
def texture() -> ChanneledTexture:
    return ChanneledTexture(TextureProjection(charted_box(), fibonacci_rig(VIEWS, width=SIDE, height=SIDE), 64))


def guide_of(views: int, seen: float) -> Guide:
    """Red where the picture sees; columns of the object from the eighth on."""
    mask = (torch.arange(SIDE) >= 8).float().expand(views, 1, SIDE, SIDE)
    red = torch.tensor([1.0, 0, 0])[None, :, None, None] * mask
    zeros = torch.zeros(views, 1, SIDE, SIDE)
    return Guide(red, seen * mask, mask, zeros, torch.zeros(views, 3, SIDE, SIDE), zeros, torch.ones(views, 3))


def condition_of(views: int) -> ViewCondition:
    cameras = stack_cameras(fibonacci_rig(views, width=SIDE, height=SIDE))
    source = stack_cameras([orbit_camera(0, 0, width=SIDE, height=SIDE)])
    return ViewCondition(
        torch.zeros(1, 4, SIDE, SIDE),
        source,
        cameras,
        views,
        guide_of(views, 0.0),
        torch.zeros(1, 1, 1),
        torch.ones(1),
    )


def known(colour: tuple[float, float, float], trust: float) -> torch.Tensor:
    straight = torch.tensor([*colour, 1.0])[None, :, None, None]
    return (straight * trust).expand(2, 4, SIDE, SIDE)


def test_the_picture_comes_first_and_what_is_known_fills_the_rest():
    green = known((0, 1, 0), 0.9)
    picture = with_known_colours(guide_of(2, 1.0), green)
    torch.testing.assert_close(picture.colour, guide_of(2, 1.0).colour)
    torch.testing.assert_close(picture.seen, guide_of(2, 1.0).seen)
    rest = with_known_colours(guide_of(2, 0.0), green)
    # A share of 0.9 of the way from red to green, believed as far; nothing beside the object.
    torch.testing.assert_close(rest.colour[0, :, 3, 20], torch.tensor([0.1, 0.9, 0]))
    assert torch.allclose(rest.seen[..., 8:], torch.tensor(0.9))
    assert not rest.seen[..., :8].any()
    assert not rest.colour[..., :8].any()


def test_a_guide_without_colours_gets_them():
    dropped = guide_of(2, 0.7).dropped(torch.tensor([[True, False, False]]).expand(2, 3))
    told = with_known_colours(dropped, known((0, 0, 1), 1.0))
    torch.testing.assert_close(told.colour[0, :, 0, -1], torch.tensor([0.0, 0, 1]))
    assert told.present.tolist() == [[1, 1, 1]] * 2


def test_what_is_known_of_one_colour_is_that_colour(texture: ChanneledTexture):
    clean = torch.tensor([0.6, -0.2, 0.0])[None, :, None, None].expand(texture.instances_shape)
    views = known_views(texture, clean)
    trust = views[:, 3:]
    assert 0 <= float(trust.min()) <= float(trust.max()) < 1
    expected = torch.tensor([0.8, 0.4, 0.5])[None, :, None, None] * trust
    torch.testing.assert_close(views[:, :3], expected, atol=1e-5, rtol=0)
    # The median texel's trust is 1 / 1.1 by definition; most pixels show texels about as well seen.
    covered = texture.projection.alpha > 0.99
    assert abs(float(trust[covered].median()) - 1 / 1.1) < 0.05


class Greys:
    """Says a grey of its own in each view, darkest in the first; keeps what it was told."""

    def __init__(self, sample_shape: tuple[int, ...]) -> None:
        self.sample_shape = sample_shape
        self.schedule = VarianceExploding()
        self.told: list[Guide] = []

    def __call__(self, noisy, time, condition):
        self.told.append(condition.guide)
        return torch.linspace(-0.9, 0.9, len(noisy))[:, None, None, None].expand(noisy.shape).clone()


def test_one_view_sees_what_the_others_made(texture: ChanneledTexture):
    network = Greys(texture.instances_shape[1:])
    denoiser = FedBack(network, texture)
    noisy, condition = torch.zeros(texture.instances_shape), condition_of(VIEWS)
    for _ in range(2):
        denoiser(noisy, torch.full((VIEWS,), 0.5), condition)
    before, after = network.told
    assert before is condition.guide
    changed = after.seen > 0.5
    assert changed.any()
    grey = after.colour.mean(dim=1, keepdim=True)
    own = torch.linspace(0.05, 0.95, VIEWS)[:, None, None, None].expand_as(grey)
    # The first view is the darkest, so what others say of its surface can only be brighter; the last the other way.
    assert (grey - own)[0][changed[0]].min() > -0.1
    assert (grey - own)[0][changed[0]].max() > 0.1
    assert (grey - own)[-1][changed[-1]].min() < -0.1
