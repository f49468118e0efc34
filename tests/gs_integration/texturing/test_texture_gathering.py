import numpy as np
import pytest
import torch

from distill_core.metrics import psnr
from distill_core.synchronization.projections import average
from gs_integration.texturing.texture_gathering import gathered_texture
from gs_integration.texturing.texture_projection import TextureProjection
from gs_integration.texturing.texture_scores import render_texture
from renderers.meshes import TexturedMesh
from tests.gs_integration.texturing.seen_box import SIDE, SIZE, VIEWS, seen_box
from tests.renderers.texturable_meshes import charted_box

SAMPLES = 4


@pytest.fixture(scope="module")
def mesh() -> TexturedMesh:
    return charted_box()


@pytest.fixture(scope="module")
def projection() -> TextureProjection:
    return seen_box()


@pytest.fixture(scope="module")
def finer(projection: TextureProjection) -> TextureProjection:
    return projection.finer()


def blobs() -> torch.Tensor:
    """A texture [3, S, S] with detail of about a pixel and a half of the views."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 24, 24, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)[0]


def inside(mesh: TexturedMesh, texture: torch.Tensor, projection: TextureProjection) -> tuple[torch.Tensor, ...]:
    rendered = render_texture(mesh, texture.clamp(0, 1), projection.cameras, supersampling=SAMPLES)
    return rendered[:, :3], rendered[:, 3] > 0.999


def test_the_mesh_renderer_shows_the_views_again(mesh, projection, finer):
    """Another program than the projection renders what is gathered, and what it is gathered from."""
    views, covered = inside(mesh, blobs(), projection)
    found = []
    for rounds in (0, 1, 8):
        texture = projection.completed(gathered_texture(projection, finer, views, rounds=rounds))
        found.append(float(psnr(inside(mesh, texture, projection)[0], views, covered).mean()))
    assert found[0] < found[1] < found[2]
    assert found[2] > found[0] + 6, found


def test_views_that_disagree_keep_their_mean(projection, finer):
    """Each view of one colour: nothing is missing from the mean that all of them could be shown."""
    colours = torch.linspace(0.2, 0.8, VIEWS).reshape(VIEWS, 1, 1, 1)
    views = colours.expand(VIEWS, 3, SIDE, SIDE).contiguous()
    mean, fitted = (gathered_texture(projection, finer, views, rounds=rounds) for rounds in (0, 8))
    moved = (mean - fitted)[0, projection.seen].abs()
    # Where an edge is in a pixel, colours of both sides can make up for each other: less than a tenth of the texels.
    assert float(moved.mean()) < 0.03
    assert float((moved > 0.1).float().mean()) < 0.1
    assert 0.2 - 1e-6 <= float(fitted[:, projection.seen].min())
    assert float(fitted[:, projection.seen].max()) <= 0.8 + 1e-6


def test_one_colour_stays_and_no_rounds_are_the_mean(projection, finer):
    views = torch.full((VIEWS, 3, SIDE, SIDE), -0.3)
    texture = gathered_texture(projection, finer, views)
    torch.testing.assert_close(texture[:, projection.seen], torch.full_like(texture[:, projection.seen], -0.3))
    assert not texture[:, ~projection.seen].any()
    random = torch.rand(VIEWS, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        gathered_texture(projection, finer, random, rounds=0), average(projection.unproject(random))
    )


def test_finer_views_are_those_of_the_same_cameras(mesh, projection, finer):
    width = finer.cameras[0].width
    assert width == SAMPLES * SIDE
    np.testing.assert_allclose(finer.cameras[3].position, projection.cameras[3].position)
    # Shares of a pixel are those of its parts.
    pooled = torch.nn.functional.avg_pool2d(finer.alpha, SAMPLES)
    assert float((pooled - projection.alpha).abs().mean()) < 0.01
    small = TextureProjection(mesh, projection.cameras, 64)
    assert small.finer() is small
