"""Score distillation through renderers: splats and textures take the colour that a denoiser finds likely."""

import torch
from torch import Tensor

from distill_core.cameras import orbit_rig
from distill_core.diffusion.schedules import VariancePreserving
from distill_core.rays import stack_cameras
from distill_core.synchronization.score_distillation import distill_canonical, distill_scores
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splat_projection import SplatProjection
from gs_integration.splats import Splats
from gs_integration.texturing.texture_projection import TextureProjection
from tests.distill_core.diffusion.gaussian import GaussianDenoiser
from tests.renderers.texturable_meshes import charted_box

SIDE = 16


def likely(channels: int) -> GaussianDenoiser:
    """Pixels near one value, in -1..1."""
    return GaussianDenoiser(VariancePreserving(), mean=0.4, deviation=0.2, sample_shape=(channels, SIDE, SIDE))


def test_splats_take_the_likely_colour():
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator), dim=1)
    colours = torch.zeros(60, 1, 3, requires_grad=True)
    splats = Splats(
        means=0.4 * directions,
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).repeat(60, 1),
        log_scales=torch.full((60, 3), -1.0),
        opacity_logits=torch.full((60,), 4.0),
        harmonics=colours,
    )
    cameras = stack_cameras(orbit_rig(6, elevations_degrees=(10.0,), width=SIDE, height=SIDE))

    def render(draws: torch.Generator) -> tuple[Tensor, None]:
        view = torch.randint(len(cameras), (1,), generator=draws)
        # The background has the likely colour itself, so that only the splats have to move.
        return rasterize(splats, cameras.select(view), torch.full((3,), 0.7), backend="cpu").colour * 2 - 1, None

    optimizer = torch.optim.Adam([colours], lr=0.05)
    distill_scores(render, optimizer, likely(3), torch.Generator().manual_seed(1), steps=60)
    drawn = rasterize(splats.detach(), cameras, torch.zeros(3), backend="cpu")
    inside = (drawn.colour / drawn.alpha[:, None].clamp(min=1e-6)).permute(0, 2, 3, 1)[drawn.alpha > 0.9]
    # From 0.5 to 0.7, up to the noise of the last steps.
    assert abs(float(inside.mean()) - 0.7) < 0.05


def test_colours_of_splats_take_the_likely_colour_through_their_projection():
    splats = Splats(
        means=torch.zeros(1, 3).repeat(40, 1) + 0.3 * torch.randn(40, 3, generator=torch.Generator().manual_seed(2)),
        quaternions_wxyz=torch.tensor([1.0, 0, 0, 0]).repeat(40, 1),
        log_scales=torch.full((40, 3), -1.5),
        opacity_logits=torch.full((40,), 2.0),
        harmonics=torch.zeros(40, 1, 3),
    )
    cameras = orbit_rig(5, elevations_degrees=(10.0,), width=SIDE, height=SIDE)
    projection = SplatProjection(splats, cameras)

    def draw(draws: torch.Generator) -> tuple[Tensor, None]:
        return torch.randperm(len(cameras), generator=draws)[:2], None

    result = distill_canonical(projection, likely(3), draw, torch.Generator().manual_seed(1), steps=80)
    seen = projection.unproject(result.instances).weights[0] > 1
    assert abs(float(result.canonical[:, seen].mean()) - 0.4) < 0.1
    inside = (projection.alpha > 0.9).expand_as(result.instances)
    assert abs(float(result.instances[inside].mean()) - 0.4) < 0.05


def test_a_texture_takes_the_likely_colour_where_it_is_seen():
    cameras = orbit_rig(4, elevations_degrees=(20.0,), width=SIDE, height=SIDE)
    projection = TextureProjection(charted_box(), cameras, 24)
    texture = torch.full((1, 24, 24), -0.5, requires_grad=True)

    def render(draws: torch.Generator) -> tuple[Tensor, None]:
        return projection.project(texture), None

    optimizer = torch.optim.Adam([texture], lr=0.05)
    distill_scores(render, optimizer, likely(1), torch.Generator().manual_seed(1), steps=60)
    views = projection.project(texture.detach())
    assert abs(float(views[projection.alpha == 1].mean()) - 0.4) < 0.1
    # What no view reads has no gradient.
    _, weight, _ = projection.unproject(views)
    away = (texture.detach() == -0.5).flatten()
    assert bool(away.any())
    assert bool((weight.flatten()[away] == 0).all())
