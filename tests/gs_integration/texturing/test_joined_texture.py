import numpy as np
import pytest
import torch

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import orbit_camera
from distill_core.progress import SilentProgress
from distill_core.synchronization.loop import Synchronized
from distill_core.synchronization.projections import LastVotes, average
from distill_core.synchronization.strategies import strategy_named
from gs_integration.texturing.joined_texture import final_views, joining_projection, joining_size, known_in_views
from gs_integration.texturing.texture_denoising import ChanneledTexture, KnownTexture
from gs_integration.texturing.texture_projection import TextureProjection
from renderers.meshes import TexturedMesh
from tests.gs_integration.texturing.seen_box import SIDE, SIZE, VIEWS, seen_box
from tests.renderers.texturable_meshes import charted_box


@pytest.fixture(scope="module")
def mesh() -> TexturedMesh:
    return charted_box()


@pytest.fixture(scope="module")
def projection() -> TextureProjection:
    return seen_box()


@pytest.fixture(scope="module")
def joining(mesh: TexturedMesh, projection: TextureProjection) -> TextureProjection:
    return joining_projection(mesh, projection, SilentProgress())


def narrowest_pixel(mesh: TexturedMesh, projection: TextureProjection) -> float:
    """World units that the narrowest pixel is wide: where a corner is nearest to a camera."""
    nearest = min(camera.project(mesh.vertices)[1].min() / camera.fx for camera in projection.cameras)
    return float(nearest)


def texel_width(mesh: TexturedMesh, projection: TextureProjection) -> float:
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    return float(np.sqrt(areas.sum() / len(projection.surface.texels)))


def test_no_texel_is_wider_than_the_narrowest_pixel(mesh, projection, joining):
    assert joining.texture_size < SIZE
    assert joining.texture_size == joining_size(projection)
    pixel = narrowest_pixel(mesh, projection)
    # A few texels more or less lie on the border of a chart.
    assert texel_width(mesh, joining) < 1.03 * pixel
    smaller = TextureProjection(mesh, projection.cameras, joining.texture_size - 64)
    assert texel_width(mesh, smaller) > 0.97 * pixel


def test_a_camera_close_by_asks_for_more_texels(mesh, projection):
    near = orbit_camera(0, 0, width=SIDE, height=SIDE, distance=1.4)
    assert joining_size(TextureProjection(mesh, [near], SIZE)) > joining_size(projection)


def test_a_texture_that_is_no_finer_than_pixels_is_joined_as_it_is(mesh, projection):
    small = TextureProjection(mesh, projection.cameras, 64)
    assert joining_projection(mesh, small, SilentProgress()) is small


def smooth_views(projection: TextureProjection) -> torch.Tensor:
    """Pictures that no grid of pixels is too coarse for: three waves of a picture's side and longer."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) / SIDE, torch.arange(SIDE) / SIDE, indexing="ij")
    phases = torch.linspace(0, 3, VIEWS)[:, None, None]
    waves = [torch.sin(6 * rows + phases), torch.cos(5 * columns + phases), torch.sin(4 * (rows + columns) - phases)]
    return torch.stack(waves, 1)


def test_views_agree_on_the_same_through_the_smaller_texture(projection, joining):
    views = smooth_views(projection)
    through_all, through_less = (each.project(average(each.unproject(views))) for each in (projection, joining))
    inside = (projection.alpha == 1) & (joining.alpha == 1)
    difference = (through_all - through_less).abs()[inside.expand_as(views)]
    # Values of -1..1; edges of the box, where a coarse texel's centre stands for what lies a texel further out, have
    # most of it.
    assert float(difference.mean()) < 0.01
    assert float(difference.quantile(0.95)) < 0.04


def test_what_is_gathered_are_the_last_clean_predictions():
    generator = torch.Generator().manual_seed(0)
    own, joined = (torch.rand(VIEWS, 3, SIDE, SIDE, generator=generator) for _ in range(2))
    joint = Synchronized(torch.zeros(3, 64, 64), joined, own, 1.0)
    for name in ("instance-clean", "canonical-clean", "canonical-noisy", "none"):
        assert final_views(joint, strategy_named(name)) is own
    # Averages of noise end in views that are more than the mean of what was predicted.
    for name in ("instance-noise", "canonical-noise"):
        assert final_views(joint, strategy_named(name)) is joined


def test_what_is_known_is_seen_alike_through_both(projection, joining):
    size = projection.texture_size
    owned = torch.from_numpy(projection.surface.owner >= 0)
    rows = torch.arange(size)[:, None].expand(size, size) / size
    trust = (((rows > 0.3) & (rows < 0.9)) & owned).float()[None]
    known = KnownTexture(torch.stack([rows, 1 - rows, torch.full_like(rows, 0.4)]), trust)
    seen, through_less = (known_in_views(known, projection, each) for each in (projection, joining))
    inside = (projection.alpha == 1) & (joining.alpha == 1)
    assert float((seen - through_less).abs()[inside.expand_as(seen)].mean()) < 0.02
    # Well inside of what is known all of it is believed, at the seams between charts too.
    whole = (seen[:, 3:] == 1) & inside
    assert whole.any()
    assert float(through_less[:, 3:][whole].mean()) > 0.98


def test_votes_are_known_again():
    asked = []

    def unproject(views: torch.Tensor):
        asked.append(views)
        return ChanneledTexture(small).projection.unproject(views)

    small = TextureProjection(charted_box(), fibonacci_rig(3, width=16, height=16), 32)
    votes, views = LastVotes(unproject), torch.rand(3, 3, 16, 16)
    first = votes(views)
    assert votes(views) is first
    assert len(asked) == 1
    # Other views are other views, be they equal.
    torch.testing.assert_close(votes(views.clone()).weighted, first.weighted)
    assert len(asked) == 2
