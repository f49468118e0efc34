import csv
import io
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms, ImageOps

from distill_core.errors import UserError
from distill_core.pictures.images import (
    composite,
    premultiply,
    read_picture,
    resize_premultiplied,
    unpremultiply,
    write_png,
)

PICTURE_ENDINGS = {".png", ".jpg", ".gif", ".webp"}
EIGHT_BIT_STEP = 1 / 255


def png_bytes(width: int, height: int, colour_type: int, bit_depth: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand, after the PNG specification."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def gradient() -> np.ndarray:
    """[20, 30, 3] 8-bit, different at every pixel, no two axes alike."""
    rows, columns = np.indices((20, 30))
    return np.stack([rows * 10, columns * 8, (rows + columns) * 4], axis=2).astype(np.uint8)


def test_every_hostile_picture_does_what_its_row_expects(shared_assets: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shared_assets / "bad_inputs"
    with (folder / "README.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if Path(row["file"]).suffix in PICTURE_ENDINGS]
    assert len(rows) >= 17
    for row in rows:
        caplog.clear()
        path = folder / row["file"]
        if row["expected"] == "error":
            with pytest.raises(UserError, match="expected") as caught:
                read_picture(path)
            assert row["file"] in str(caught.value)
            assert "\n" not in str(caught.value)
        else:
            picture = read_picture(path)
            assert np.isfinite(picture.rgba).all()
            # The flat picture is the matting's to warn of.
            warned = row["expected"] == "warning" and row["file"] != "one_colour.png"
            assert len(caplog.records) == warned, row["file"]


def test_unusual_pictures_of_the_assets_show_what_they_should(shared_assets: Path) -> None:
    folder = shared_assets / "bad_inputs"
    cmyk = read_picture(folder / "cmyk.jpg").rgba
    middle = cmyk[:3, 32, 32]
    assert middle[0] > 0.7 > middle[1] > middle[2], "the disc is orange"
    turned = read_picture(folder / "exif_rotated.jpg")
    assert (turned.width, turned.height) == (64, 96)
    red = (turned.rgba[0] > 0.8) & (turned.rgba[1] < 0.3)
    across = red.sum(axis=1)[red.any(axis=1)]
    assert across[: len(across) // 4].mean() < across[len(across) // 4 : len(across) // 2].mean(), "the tip is on top"
    palette = read_picture(folder / "palette_transparent.png")
    assert palette.has_alpha
    assert 0.3 < palette.rgba[3].mean() < 0.5
    for name in ("sixteen_bit_grey.png", "sixteen_bit_rgba.png"):
        ramp = read_picture(folder / name).rgba[0]
        # 64 pixels from 0 to 65535: neither clipped at 255 nor wrapped.
        assert ramp.mean() == pytest.approx(0.5, abs=0.01)
        assert max(abs(np.diff(ramp, axis=1)).max(), abs(np.diff(ramp, axis=0)).max()) < 2 / 63


def test_a_bomb_is_refused_from_its_header_with_both_sizes(shared_assets: Path) -> None:
    with pytest.raises(UserError, match=r"at most 64,000,000 pixels, got 60000 x 60000 = 3,600,000,000"):
        read_picture(shared_assets / "bad_inputs" / "bomb_60000x60000.png")


def test_a_webp_bomb_is_refused_before_its_decoder_takes_memory(tmp_path: Path) -> None:
    small = Image.new("RGBA", (16, 16))
    small.save(tmp_path / "bomb.webp", save_all=True, append_images=[Image.new("RGBA", (16, 16), "red")])
    content = bytearray((tmp_path / "bomb.webp").read_bytes())
    assert content[12:16] == b"VP8X"
    content[24:30] = struct.pack("<I", 16382)[:3] * 2  # canvas less one (WebP container specification)
    (tmp_path / "bomb.webp").write_bytes(content)
    with pytest.raises(UserError, match=r"at most 64,000,000 pixels.*268402689"):
        read_picture(tmp_path / "bomb.webp")


def test_twelve_megapixels_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3000), (10, 200, 30)).save(tmp_path / "large.jpg")
    picture = read_picture(tmp_path / "large.jpg")
    assert picture.rgba.shape == (4, 3000, 4000)
    assert picture.rgba[1].mean() == pytest.approx(200 / 255, abs=2 * EIGHT_BIT_STEP)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_turned_as_pillow_turns_them(
    orientation: int, gradient: np.ndarray, tmp_path: Path
) -> None:
    image = Image.fromarray(gradient)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored)).transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_allclose(read_picture(tmp_path / "turned.png").rgba[:3], expected, atol=1e-7)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_keep_all_their_bits(colour_type: int, channels: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 65536, (17, 19, channels)).astype(np.uint16)
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "deep.png").write_bytes(png_bytes(19, 17, colour_type, 16, rows))
    rgba = read_picture(tmp_path / "deep.png").rgba
    stored = values.transpose(2, 0, 1) / 65535
    np.testing.assert_allclose(rgba[0], stored[0], atol=1e-7)
    np.testing.assert_allclose(rgba[2], stored[min(channels, 3) - 1 if channels > 2 else 0], atol=1e-7)
    np.testing.assert_allclose(rgba[3], stored[-1] if channels in (2, 4) else np.ones_like(stored[0]), atol=1e-7)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_sixteen_bits_with_one_transparent_colour(colour_type: int, channels: int, tmp_path: Path) -> None:
    values = np.full((16, 16, channels), 40_000, np.uint16)
    values[:8] = 1234
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    data = struct.pack(f">{channels}H", *[1234] * channels)
    chunk = struct.pack(">I", len(data)) + b"tRNS" + data + struct.pack(">I", zlib.crc32(b"tRNS" + data))
    (tmp_path / "keyed.png").write_bytes(png_bytes(16, 16, colour_type, 16, rows, chunk))
    alpha = read_picture(tmp_path / "keyed.png").rgba[3]
    assert (alpha[:8] == 0).all()
    assert (alpha[8:] == 1).all()


@pytest.mark.parametrize(
    ("ending", "mode"),
    [
        (ending, mode)
        for ending, modes in {
            ".png": ["1", "L", "LA", "P", "RGB", "RGBA"],
            ".webp": ["L", "RGB", "RGBA"],
            ".tiff": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"],
            ".bmp": ["1", "L", "P", "RGB", "RGBA"],
            ".gif": ["1", "L", "P", "RGB"],
            ".jpg": ["L", "RGB", "CMYK"],
        }.items()
        for mode in modes
    ],
)
def test_modes_and_formats_read_as_pillow_converts_them(
    mode: str, ending: str, gradient: np.ndarray, tmp_path: Path
) -> None:
    image = Image.fromarray(gradient).convert(mode)
    image.save(tmp_path / f"picture{ending}", lossless=True)  # lossless is WebP's alone
    with Image.open(tmp_path / f"picture{ending}") as stored:
        expected = np.asarray(stored.convert("RGB")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(read_picture(tmp_path / f"picture{ending}").rgba[:3], expected, atol=1e-6)


def test_an_embedded_profile_is_converted_to_srgb(gradient: np.ndarray, tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(gradient)
    image.save(tmp_path / "same.png", icc_profile=srgb)
    np.testing.assert_allclose(
        read_picture(tmp_path / "same.png").rgba[:3], gradient.transpose(2, 0, 1) / 255, atol=1.5 * EIGHT_BIT_STEP
    )
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image.convert("LAB").save(tmp_path / "lab.tiff", icc_profile=lab)
    # CIELAB with 8 bits a channel, D50 against D65 in Pillow's own conversion: the hues survive.
    difference = read_picture(tmp_path / "lab.tiff").rgba[:3] - gradient.transpose(2, 0, 1) / 255
    assert np.abs(difference).mean() < 0.1


def test_a_broken_profile_is_said_and_left_out(
    gradient: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(gradient).save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    rgba = read_picture(tmp_path / "broken.png").rgba
    np.testing.assert_allclose(rgba[:3], gradient.transpose(2, 0, 1) / 255, atol=1e-6)
    assert ["profile" in record.message for record in caplog.records] == [True]


def test_truncation_anywhere_is_an_error_or_a_whole_picture(gradient: np.ndarray, tmp_path: Path) -> None:
    for ending in ("png", "jpeg", "webp", "gif", "bmp", "tiff"):
        stream = io.BytesIO()
        Image.fromarray(gradient).save(stream, format=ending)
        content = stream.getvalue()
        for length in np.linspace(1, len(content) - 1, 12).astype(int):
            (tmp_path / "cut").write_bytes(content[:length])
            try:
                picture = read_picture(tmp_path / "cut")
            except UserError:
                continue
            assert picture.rgba.shape == (4, 20, 30)


@given(st.binary(max_size=300), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\x00"]))
def test_noise_behind_a_magic_number_is_one_sentence(tmp_path_factory: pytest.TempPathFactory, noise, magic) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(magic + noise)
    with pytest.raises(UserError, match="expected"):
        read_picture(path)


def test_missing_files_folders_and_32_bit_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(UserError, match="got a folder"):
        read_picture(tmp_path)
    Image.fromarray(np.ones((20, 20), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UserError, match="32 bits"):
        read_picture(tmp_path / "float.tiff")


def test_empty_and_tiny_pictures_pass_where_they_are_allowed(tmp_path: Path) -> None:
    write_png(tmp_path / "empty.png", np.zeros((4, 5, 6), np.float32))
    with pytest.raises(UserError, match="at least 16 x 16"):
        read_picture(tmp_path / "empty.png")
    with pytest.raises(UserError, match="fully transparent"):
        read_picture(tmp_path / "empty.png", smallest_side_px=1)
    assert read_picture(tmp_path / "empty.png", smallest_side_px=1, allow_empty=True).rgba.shape == (4, 5, 6)


@given(
    arrays.arrays(np.uint8, st.tuples(st.sampled_from([1, 3, 4]), st.integers(1, 9), st.integers(1, 9))),
)
def test_written_pictures_are_read_as_they_were(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.png"
    picture = values / np.float32(255)
    write_png(path, picture)
    rgba = read_picture(path, smallest_side_px=1, allow_empty=True).rgba
    np.testing.assert_allclose(rgba[: len(picture)] if len(picture) > 1 else rgba[:1], picture, atol=1e-7)


def test_writing_rounds_and_clips_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_png(tmp_path / "one.png", np.array([-1.0, 0.4999, 0.5001, 2.0])[None, None].repeat(3, axis=0))
    with Image.open(tmp_path / "one.png") as image:
        assert np.asarray(image)[0, :, 0].tolist() == [0, 127, 128, 255]
    with pytest.raises(UserError, match="cannot be written"):
        write_png(tmp_path / "missing" / "one.png", np.zeros((3, 4, 4)))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_png(tmp_path / "folder.png", np.zeros((3, 4, 4)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "one.png"]


@given(arrays.arrays(np.float32, (2, 4, 3, 5), elements=st.floats(0, 1, width=32)))
def test_unpremultiply_inverts_premultiply_where_something_is_visible(rgba: np.ndarray) -> None:
    back = unpremultiply(premultiply(rgba))
    visible = rgba[:, 3:] > 1e-30  # below, the product is no normal float32 any more
    np.testing.assert_allclose(np.where(visible, back, 0), np.where(visible, rgba, 0), rtol=1e-5, atol=1e-7)


def test_composite_is_the_mean_weighted_by_alpha() -> None:
    rgba = np.array([0.2, 0.4, 0.6, 0.25], np.float32).reshape(4, 1, 1)
    np.testing.assert_allclose(composite(rgba, 1.0).ravel(), [0.8, 0.85, 0.9], atol=1e-6)
    np.testing.assert_allclose(composite(rgba, (1.0, 0.0, 0.0)).ravel(), [0.8, 0.1, 0.15], atol=1e-6)


def test_halving_is_the_mean_of_premultiplied_pixels() -> None:
    rgba = np.random.default_rng(0).random((4, 8, 12), np.float32)
    halved = resize_premultiplied(rgba, 6, 4)
    expected = premultiply(rgba).reshape(4, 4, 2, 6, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(premultiply(halved), expected, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(5, 3), (12, 31), (40, 7), (33, 44)])
def test_resizing_keeps_flat_colours_and_the_mean(width: int, height: int) -> None:
    rgba = np.full((4, 16, 24), np.array([0.1, 0.5, 0.9, 1.0], np.float32)[:, None, None])
    rgba[3, :, :12] = 0  # transparent pixels have a colour, which must not bleed
    rgba[:3, :, :12] = 1
    resized = resize_premultiplied(rgba, width, height)
    assert resized.shape == (4, height, width)
    visible = resized[3] > 1e-3
    np.testing.assert_allclose(resized[:3, visible].T, np.broadcast_to([0.1, 0.5, 0.9], (visible.sum(), 3)), atol=1e-3)
    assert resized[3].mean() == pytest.approx(0.5, abs=0.02)


def test_animations_use_the_first_frame_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    for ending in ("gif", "webp", "png", "tiff"):
        caplog.clear()
        frames[0].save(tmp_path / f"frames.{ending}", save_all=True, append_images=frames[1:], lossless=True)
        with caplog.at_level(logging.WARNING):
            rgba = read_picture(tmp_path / f"frames.{ending}").rgba
        np.testing.assert_allclose(rgba[:3].mean(axis=(1, 2)), [1, 0, 0], atol=0.01)
        assert len(caplog.records) == 1
        assert "3 frames" in caplog.records[0].message
