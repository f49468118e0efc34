import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderers.texture_space.texel_surface import claim_texels, texel_surface
from tests.renderers.texturable_meshes import bare_mesh, charted_box

SQUARE = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)


def test_two_halves_of_the_texture_share_it_without_a_contest() -> None:
    claims = claim_texels(SQUARE, 33)
    assert (claims.owner >= 0).all()
    assert claims.contested_share == 0
    # The lower right half belongs to the first face: v is up, rows go down.
    assert claims.owner[-1, -1] == 0
    assert claims.owner[0, 0] == 1


def test_faces_on_top_of_one_another_contest_all_their_texels() -> None:
    claims = claim_texels(np.concatenate([SQUARE, SQUARE]), 32)
    assert claims.contested_share > 0.9  # all but the diagonal
    assert claims.loses[:2].sum() == 0
    assert claims.loses[2:].sum() > 0.9 * 32 * 32
    other_way = claim_texels(np.concatenate([SQUARE, SQUARE]), 32, np.array([3, 2, 1, 0]))
    assert other_way.loses[2:].sum() == 0


@given(st.integers(0, 2**32 - 1), st.integers(8, 60))
def test_a_triangle_owns_the_centres_that_brute_force_finds_in_it(seed: int, size: int) -> None:
    triangle = np.random.default_rng(seed).random((3, 2))
    x, y = (np.indices((size, size))[::-1] + 0.5) / size
    points = np.stack([x, 1 - y], axis=-1)
    sides = [
        (b[0] - a[0]) * (points[..., 1] - a[1]) - (b[1] - a[1]) * (points[..., 0] - a[0])
        for a, b in zip(triangle, np.roll(triangle, -1, axis=0), strict=True)
    ]
    inside = np.all(np.stack(sides) > 1e-6, axis=0) | np.all(np.stack(sides) < -1e-6, axis=0)
    outside = np.any(np.stack(sides) > 1e-6, axis=0) & np.any(np.stack(sides) < -1e-6, axis=0)
    owned = claim_texels(triangle[None].astype(np.float64), size).owner == 0
    assert owned[inside].all()
    assert not owned[outside].any()


def test_texel_centres_lie_where_the_coordinates_map_them() -> None:
    # World = an affine map of the texture, so that the place of every texel's centre is known.
    square = bare_mesh(
        np.array([[-1, 2, -3], [1, 2, -3], [1, 2, 3], [-1, 2, 3]], float), np.array([[0, 1, 2], [0, 2, 3]]), SQUARE
    )
    surface = texel_surface(square, 20)
    u, v = (surface.texels % 20 + 0.5) / 20, 1 - (surface.texels // 20 + 0.5) / 20
    expected = np.stack([2 * u - 1, np.full_like(u, 2), 6 * v - 3], axis=-1)
    np.testing.assert_allclose(surface.points, expected, atol=1e-6)
    np.testing.assert_allclose(surface.normals, np.broadcast_to([0, -1, 0], expected.shape), atol=1e-7)


def test_a_face_smaller_than_a_texel_still_owns_one() -> None:
    tiny = np.array([[[0.51, 0.51], [0.512, 0.51], [0.51, 0.512]]], np.float32)
    mesh = bare_mesh(np.eye(3), np.array([[0, 1, 2]]), tiny)
    surface = texel_surface(mesh, 10)
    assert surface.texels.tolist() == [4 * 10 + 5]
    assert surface.points[0] @ np.ones(3) == pytest.approx(1, abs=1e-6)  # on the face
    assert surface.points.min() >= 0


def test_every_side_of_the_box_owns_its_share_of_texels() -> None:
    mesh = charted_box()
    surface = texel_surface(mesh, 256)
    side = (1 / 3 - 0.04) * 256
    counts = np.bincount(surface.owner.ravel()[surface.texels] // 2)
    # A border of half a texel all around is what rounding to centres may change.
    assert np.abs(counts - side**2).max() <= 4 * side
    np.testing.assert_allclose(np.abs(surface.points).max(axis=1), 1 / 3**0.5, atol=1e-6)
