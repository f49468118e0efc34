import numpy as np
import pytest
import torch

from distill_core.camera_rigs import fibonacci_rig
from gs_integration.texturing.texture_projection import TextureProjection
from gs_integration.texturing.texture_scores import consistency_psnr, render_texture, seam_score
from renderers.texture_space.texel_surface import texel_surface
from tests.renderers.texturable_meshes import bare_mesh, charted_box

SIZE = 128


def box_texture(colour_of_point: np.ndarray) -> np.ndarray:
    """A texture [3, S, S] from colours of texels [N, 3], with chart edges carried on outwards."""
    projection = TextureProjection(charted_box(), fibonacci_rig(12, width=64, height=64), SIZE)
    texture = torch.zeros(SIZE * SIZE, 3)
    texture[torch.from_numpy(projection.surface.texels)] = torch.from_numpy(colour_of_point.astype(np.float32))
    return projection.completed(texture.T.reshape(3, SIZE, SIZE)).numpy()


def test_a_constant_texture_has_no_seams() -> None:
    score = seam_score(charted_box(), np.full((3, SIZE, SIZE), 0.3))
    assert score.num_edges == 12  # all edges of the box
    assert (score.ratio, score.across, score.beside) == (pytest.approx(1), pytest.approx(0), pytest.approx(0))


def test_a_colour_of_position_crosses_seams_as_it_goes_on_beside_them() -> None:
    surface = texel_surface(charted_box(), SIZE)
    texture = box_texture(0.5 + 0.4 * np.sin(6 * surface.points))
    assert 0.4 < seam_score(charted_box(), texture).ratio < 2


def test_charts_of_different_colours_have_the_seams_that_they_have() -> None:
    surface = texel_surface(charted_box(), SIZE)
    by_axis = np.abs(surface.normals).argmax(axis=1)  # opposite sides alike, neighbours 0.25 or 0.5 apart
    grey = np.array([0.25, 0.5, 0.75])[by_axis]
    score = seam_score(charted_box(), box_texture(np.repeat(grey[:, None], 3, axis=1)))
    # Of the twelve edges four each join sides that differ by 0.25, 0.25 and 0.5.
    assert score.across == pytest.approx((0.25 + 0.25 + 0.5) / 3, abs=1e-3)
    assert score.beside == pytest.approx(0, abs=1e-3)
    assert score.ratio > 50


def test_a_layout_in_one_piece_has_no_seams() -> None:
    square = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]])
    mesh = bare_mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]), square)
    score = seam_score(mesh, np.random.default_rng(0).random((3, 16, 16)))
    assert (score.num_edges, score.ratio) == (0, 1.0)


def test_consistency_is_the_psnr_of_what_was_added() -> None:
    cameras = fibonacci_rig(3, width=48, height=48)
    rendered = render_texture(charted_box(), torch.full((3, SIZE, SIZE), 0.5), cameras)
    views = rendered[:, :3] + torch.tensor([0.01, 0.1, 0.0])[:, None, None, None]
    # 8-bit texture and half: the render is 0.502; the views are that plus the stated differences, 40 and 20 dB.
    found = consistency_psnr(views, rendered)
    assert found[:2].tolist() == pytest.approx([40, 20], abs=1e-2)
    assert torch.isinf(found[2])
    # What lies beside the object does not count.
    beside = torch.where(rendered[:, 3:] > 0.999, views, 9.0)
    torch.testing.assert_close(consistency_psnr(beside, rendered), found)
