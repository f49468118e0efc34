import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from distill_core.errors import UserError
from distill_core.pictures.images import Picture, composite, read_picture
from distill_core.pictures.matting import NOTHING_SEPARATED, remove_background

SIDE = 192


def soft(shape: np.ndarray) -> np.ndarray:
    """Coverage of a shape that is given at four times the size."""
    return shape.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3)).astype(np.float32)


def fine_grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = (np.indices((4 * SIDE, 4 * SIDE)) + 0.5) / 4
    return rows, columns


@pytest.fixture(scope="module")
def torus() -> np.ndarray:
    """A ring with a knob, coloured by place, of exact coverage; the hole in it is seen through."""
    rows, columns = fine_grid()
    radius = np.hypot(rows - 96, columns - 96)
    coverage = soft(((radius < 70) & (radius > 34)) | (np.hypot(rows - 20, columns - 96) < 12))
    hue = np.stack([0.75 + 0.2 * np.sin(rows[::4, ::4] / 9), 0.3 + columns[::4, ::4] / 640, 0.2 + rows[::4, ::4] / 960])
    return np.concatenate([hue, coverage[None]]).astype(np.float32)


def on(
    rgba: np.ndarray, background: float | tuple[float, ...] | np.ndarray, jpeg_quality: int | None = None
) -> Picture:
    if isinstance(background, np.ndarray):
        rgb = rgba[:3] * rgba[3:] + background * (1 - rgba[3:])
    else:
        rgb = composite(rgba, background)
    eight_bit = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    if jpeg_quality is not None:
        stream = io.BytesIO()
        Image.fromarray(eight_bit.transpose(1, 2, 0)).save(stream, "JPEG", quality=jpeg_quality)
        eight_bit = np.asarray(Image.open(stream)).transpose(2, 0, 1)
    stored = eight_bit.astype(np.float32) / 255
    return Picture(np.concatenate([stored, np.ones_like(stored[:1])]), has_alpha=False)


def distance_px(mask: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.distance_transform_edt(mask))


def iou(matte: np.ndarray, truth: np.ndarray) -> float:
    first, second = matte > 0.5, truth > 0.5
    return float((first & second).sum() / (first | second).sum())


BACKGROUNDS = {
    "white": (1.0, None),
    "white jpeg": (1.0, 75),
    "grey jpeg": (0.5, 75),
    "black": (0.0, None),
    "blue jpeg": ((0.2, 0.4, 0.8), 80),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_plain_background_leaves_the_object_whole_its_hole_open_and_no_halo(name: str, torus: np.ndarray) -> None:
    background, quality = BACKGROUNDS[name]
    matte = remove_background(on(torus, background, quality))
    assert matte.method == "border"
    assert matte.warning is None
    alpha, truth = matte.rgba[3], torus[3]
    assert iou(alpha, truth) > (0.96 if quality else 0.99)
    assert alpha[96, 96] == 0, "the hole"
    # Away from the edge coverage is exact: no halo from ringing. JPEG's colours, at half size, place an edge of equal
    # lightness to two of their pixels.
    edge_px = 4.5 if quality else 2.5
    assert alpha[distance_px(truth == 0) > edge_px].max() == 0
    assert alpha[distance_px(truth == 1) > edge_px].min() == 1
    # Over a colour that neither has, an error of colour or coverage shows wherever it is.
    difference = np.abs(composite(matte.rgba, (0.0, 1.0, 0.0)) - composite(torus, (0.0, 1.0, 0.0)))
    edge = distance_px(truth == 0) + distance_px(truth == 1) < 3
    assert difference[:, edge].mean() < (0.08 if quality else 0.03)


def test_coverage_along_the_edge_is_that_of_the_truth(torus: np.ndarray) -> None:
    matte = remove_background(on(torus, 1.0))
    partial = (torus[3] > 0.1) & (torus[3] < 0.9)
    assert np.abs(matte.rgba[3] - torus[3])[partial].mean() < 0.1
    assert np.corrcoef(matte.rgba[3][partial], torus[3][partial])[0, 1] > 0.9


def test_a_soft_gradient_and_a_soft_shadow_are_background(torus: np.ndarray) -> None:
    rows, columns = np.indices((SIDE, SIDE))
    wall = 0.85 - 0.2 * rows / SIDE + 0.05 * columns / SIDE
    shadow = 1 - 0.25 * np.exp(-(((rows - 168) / 14) ** 2 + ((columns - 130) / 40) ** 2))
    picture = on(torus, np.broadcast_to(wall * shadow, (3, SIDE, SIDE)), 90)
    matte = remove_background(picture)
    assert matte.method == "border"
    assert iou(matte.rgba[3], torus[3]) > 0.95


def test_a_wall_and_a_floor_are_both_background(torus: np.ndarray) -> None:
    room = np.zeros((3, SIDE, SIDE), np.float32)
    room[:, :140] = np.array([0.3, 0.45, 0.6])[:, None, None]
    room[:, 140:] = np.array([0.55, 0.5, 0.45])[:, None, None]
    matte = remove_background(on(torus, room, 90))
    assert matte.method == "border"
    assert iou(matte.rgba[3], torus[3]) > 0.95


def test_a_fading_highlight_of_the_backgrounds_colour_is_no_hole() -> None:
    rows, columns = fine_grid()
    coverage = soft(np.hypot(rows - 96, columns - 96) < 70)
    glow = np.exp(-(((rows[::4, ::4] - 80) / 16) ** 2 + ((columns[::4, ::4] - 80) / 16) ** 2))
    shade = np.clip(np.stack([0.7 + 0.6 * glow, 0.1 + 1.2 * glow, 0.1 + 1.2 * glow]), 0, 1)
    ball = np.concatenate([shade, coverage[None]]).astype(np.float32)
    matte = remove_background(on(ball, 1.0, 90))
    assert (ball[:3].min(axis=0) > 0.99).sum() > 20, "some of it is as white as the background"
    assert matte.rgba[3][coverage == 1].min() > 0.5


def test_black_bars_are_no_background_colour(torus: np.ndarray) -> None:
    rgba = on(torus, (0.9, 0.85, 0.8)).rgba.copy()
    rgba[:3, :14], rgba[:3, -14:] = 0, 0
    truth = torus[3].copy()
    truth[:14], truth[-14:] = 0, 0
    matte = remove_background(Picture(rgba, has_alpha=False))
    assert matte.method == "border"
    assert iou(matte.rgba[3], truth) > 0.97
    before_black = remove_background(on(torus, 0.0))
    assert iou(before_black.rgba[3], torus[3]) > 0.97, "an object before black stands between no bars"


def test_alpha_is_taken_as_it_is_where_it_cuts_out(torus: np.ndarray) -> None:
    picture = Picture(torus, has_alpha=True)
    for method in ("auto", "alpha"):
        matte = remove_background(picture, method=method)
        assert matte.method == "alpha"
        np.testing.assert_array_equal(matte.rgba, torus)


def test_a_few_transparent_corners_are_no_cut_out(torus: np.ndarray) -> None:
    rgba = on(torus, 1.0).rgba.copy()
    rgba[3, :4, :4] = 0
    matte = remove_background(Picture(rgba, has_alpha=True))
    assert matte.method == "border"
    assert iou(matte.rgba[3], torus[3]) > 0.98


def test_alpha_asked_for_and_missing_is_an_error(torus: np.ndarray) -> None:
    with pytest.raises(UserError, match="expected transparency, got an opaque picture"):
        remove_background(on(torus, 1.0), method="alpha")


def test_grabcut_finds_an_object_before_clutter(torus: np.ndarray) -> None:
    generator = np.random.default_rng(3)
    clutter = ndimage.zoom(generator.random((3, 12, 12)), (1, SIDE / 12, SIDE / 12), order=0)
    clutter = 0.15 + 0.35 * clutter * np.array([0.4, 1.0, 0.6])[:, None, None]
    disc = torus.copy()
    rows, columns = np.indices((SIDE, SIDE))
    disc[3] = np.hypot(rows - 96, columns - 96) < 52
    matte = remove_background(on(disc, clutter, 90))
    assert matte.method == "grabcut"
    assert iou(matte.rgba[3], disc[3]) > 0.9
    again = remove_background(on(disc, clutter, 90))
    np.testing.assert_array_equal(again.rgba, matte.rgba)


def test_where_nothing_stands_apart_the_whole_picture_goes_on_with_a_warning(shared_assets: Path) -> None:
    picture = read_picture(shared_assets / "bad_inputs" / "one_colour.png")
    for method in ("auto", "border", "grabcut"):
        matte = remove_background(picture, method=method)
        assert matte.warning == NOTHING_SEPARATED
        assert matte.method == "none"
        np.testing.assert_array_equal(matte.rgba, picture.rgba)


def test_large_pictures_keep_their_size_and_their_details(torus: np.ndarray) -> None:
    large = np.asarray(torus).repeat(6, axis=1).repeat(6, axis=2)
    matte = remove_background(on(large, 1.0))
    assert matte.rgba.shape == large.shape
    assert iou(matte.rgba[3], large[3]) > 0.98
    inside = np.asarray(ndimage.binary_erosion(large[3] == 1, iterations=12))
    np.testing.assert_allclose(matte.rgba[:3] * inside, large[:3] * inside, atol=1 / 255)


@pytest.mark.parametrize(
    ("name", "method", "least_share", "largest_share"),
    [
        ("cat_statue.jpg", "border", 0.26, 0.33),
        ("elephant.jpg", "grabcut", 0.2, 0.28),
        ("cactus_black_bars.jpg", "border", 0.11, 0.15),
        ("rocking_chair.jpg", "border", 0.15, 0.22),
    ],
)
def test_photographs_are_cut_out_as_looked_at(
    shared_assets: Path, name: str, method: str, least_share: float, largest_share: float
) -> None:
    matte = remove_background(read_picture(shared_assets / "pictures" / name))
    assert matte.method == method
    assert least_share < matte.rgba[3].mean() < largest_share


def test_a_slip_in_the_methods_name_is_said_without_looking_for_a_model(torus: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"expected auto, alpha, border, grabcut or a ViTMatte checkpoint.*'grabct'"):
        remove_background(on(torus, 1.0), method="grabct")


def test_torch_is_not_imported_without_a_model() -> None:
    import subprocess

    code = "import sys, distill_core.pictures.matting; sys.exit('torch' in sys.modules)"
    folder = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0
