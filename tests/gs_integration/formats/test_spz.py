import gzip
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_integration.formats import spz_fields
from gs_integration.formats.arrays import ARRAY_NAMES
from gs_integration.formats.errors import FormatError
from gs_integration.formats.ply import read_ply
from gs_integration.formats.spz import VERSIONS_WRITTEN, decode_spz, encode_spz, read_spz
from gs_integration.formats.stored_values import opacity_bytes
from tests.gs_integration.formats.clouds import asymmetric_cloud, opacities, turns_between

HEADER = struct.Struct("<4sIIBBBB")


def fields_of(content: bytes) -> dict[str, np.ndarray]:
    """The fields of version 3, cut apart by the specification."""
    raw = gzip.decompress(content)
    _, _, count, degree, *_ = HEADER.unpack_from(raw)
    place, found = HEADER.size, {}
    for name, width in spz_fields.field_widths(degree, smallest_three=True).items():
        found[name] = np.frombuffer(raw, np.uint8, width * count, place).reshape(count, width)
        place += width * count
    assert place == len(raw)
    return found


def test_fields_are_byte_for_byte_those_of_the_reference_library(shared_assets: Path) -> None:
    theirs = fields_of((shared_assets / "splats" / "playbot_v3.spz").read_bytes())
    splats = read_ply(shared_assets / "splats" / "playbot_inria.ply").splats
    y_up = splats.means * np.array([1, -1, -1], np.float32)
    # Their change of axes turns the quaternion from both sides, which is the same Gaussian.
    turned = splats.quaternions_wxyz * np.array([1, 1, -1, -1], np.float32)
    np.testing.assert_array_equal(opacity_bytes(splats.opacity_logits)[:, None], theirs["opacities"])
    np.testing.assert_array_equal(spz_fields.encode_colours(splats.harmonics[:, 0]), theirs["colours"])
    np.testing.assert_array_equal(spz_fields.encode_scales(splats.log_scales), theirs["scales"])
    np.testing.assert_array_equal(spz_fields.encode_rotations(turned), theirs["rotations"])
    harmonics = splats.in_axes("y-up").harmonics
    np.testing.assert_array_equal(spz_fields.encode_harmonics(harmonics), theirs["harmonics"])
    # They multiply in float32: a coordinate on the border between two steps may fall on the other side.
    ours = spz_fields.decode_positions(spz_fields.encode_positions(y_up, 12), 12)
    assert np.abs(ours - spz_fields.decode_positions(theirs["positions"], 12)).max() <= 2**-12


@pytest.mark.parametrize("version", [2, 3, 4])
def test_files_of_the_reference_library_show_the_same_splats(version: int, shared_assets: Path) -> None:
    original = read_ply(shared_assets / "splats" / "playbot_inria.ply").splats
    found = read_spz(shared_assets / "splats" / f"playbot_v{version}.spz").splats
    assert found.axes == "y-up"
    found = found.in_axes("y-down")
    assert np.abs(found.means - original.means).max() <= 2**-13 + 1e-6
    # Sizes below e^-10 are cut off; the others lie within half a step of a sixteenth.
    assert np.abs(found.log_scales - np.maximum(original.log_scales, -10)).max() <= 1 / 32 + 1e-6
    assert np.abs(opacities(found) - opacities(original)).max() <= 0.5 / 255 + 1e-6
    colours = np.clip(original.harmonics[:, 0], -0.5 / 0.15, 0.5 / 0.15)
    assert np.abs(found.harmonics[:, 0] - colours).max() <= 0.5 / 255 / 0.15 + 1e-5
    # Version 2 restores w from three bytes, whose errors weigh most where w is near 0: sqrt(2 * 3 / 255).
    assert turns_between(found, original).max() < (0.31 if version == 2 else 0.012)


def test_a_man_stands_upright(shared_assets: Path) -> None:
    """Figures from the assets' README: y 0..3.1802 as stored; his sibling .ply reaches from -3.1801 to 0."""
    splats = read_spz(shared_assets / "splats" / "biker.spz").splats
    np.testing.assert_allclose([splats.means[:, 1].min(), splats.means[:, 1].max()], [0, 3.1802], atol=1e-3)
    down = splats.in_axes("y-down").means
    np.testing.assert_allclose([down[:, 1].min(), down[:, 1].max()], [-3.1801, 0], atol=1e-3)
    np.testing.assert_allclose([down[:, 2].min(), down[:, 2].max()], [-0.5323, 0.6131], atol=1e-3)


@pytest.mark.parametrize("version", VERSIONS_WRITTEN)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_nothing_is_lost_beyond_the_steps_of_the_format(version: int, degree: int) -> None:
    splats = replace(asymmetric_cloud(300, degree, axes="y-up"), antialiased=version == 4)
    found = decode_spz(encode_spz(splats, version=version)).splats
    assert found.antialiased == splats.antialiased
    bits = spz_fields.fractional_bits(splats.means)
    assert bits == 20
    assert np.abs(found.means - splats.means).max() <= 0.5 * 2**-20 + 1e-7
    assert np.abs(found.log_scales - splats.log_scales).max() <= 0.5 / 16 + 1e-6
    assert np.abs(opacities(found) - opacities(splats)).max() <= 0.5 / 255 + 1e-6
    assert np.abs(found.harmonics[:, 0] - splats.harmonics[:, 0]).max() <= 0.5 / 255 / 0.15 + 1e-6
    # Three components within half a step of sqrt(1/2) / 511; twice the error of a quaternion is the angle.
    assert turns_between(found, splats).max() <= 2 * 1.5 * np.sqrt(0.5) / 511
    first, others = found.harmonics[:, 1:4] - splats.harmonics[:, 1:4], found.harmonics[:, 4:] - splats.harmonics[:, 4:]
    # Rounded to 1/128 and then to 5 or 4 bits.
    assert np.abs(first).max(initial=0) <= (0.5 + 4) / 128 + 1e-6
    assert np.abs(others).max(initial=0) <= (0.5 + 8) / 128 + 1e-6
    again = decode_spz(encode_spz(found, version=version)).splats
    for name in ("log_scales", "harmonics"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


@given(st.floats(1e-3, 8e6))
def test_the_fixed_point_is_the_finest_that_holds_the_positions(farthest: float) -> None:
    means = np.array([[farthest, -farthest, 0]], np.float32)
    bits = spz_fields.fractional_bits(means)
    assert bits is not None
    found = spz_fields.decode_positions(spz_fields.encode_positions(means, bits), bits)
    # float32 itself has steps of 2^-24 of the value.
    assert np.abs(found - means).max() <= 0.5 * 2.0**-bits + farthest * 2**-24
    assert bits == 20 or farthest * 2 ** (bits + 1) > spz_fields.LONGEST_POSITION - 1


def test_splats_too_far_out_are_refused() -> None:
    splats = replace(asymmetric_cloud(2), means=np.full((2, 3), 1e8, np.float32))
    with pytest.raises(FormatError, match=r"within 8388607 units .* got 1e\+08"):
        encode_spz(splats)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_any_rotation_survives_the_smallest_three(quaternion: list[float]) -> None:
    given_ = np.array([quaternion], np.float32)
    found = spz_fields.decode_rotations(spz_fields.encode_rotations(given_))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert abs((found @ given_.T).item()) / np.linalg.norm(given_) > 1 - 0.5 * (1.5 * np.sqrt(0.5) / 511) ** 2 * 1.5


def with_extension(content: bytes, records: bytes) -> bytes:
    """Version 4 with records between its header and its table."""
    header = bytearray(content[:32])
    header[14] |= 2
    header[16:20] = struct.pack("<I", 32 + len(records))
    return bytes(header) + records + content[32:]


@pytest.mark.parametrize(("system", "axes"), [(0, "y-up"), (4, "y-up"), (6, "y-down")])
def test_an_extension_names_the_axes(system: int, axes: str) -> None:
    content = encode_spz(asymmetric_cloud(5), version=4)
    records = struct.pack("<IIf", 0xADBE0009, 4, 1.0) + struct.pack("<III", 0xADBE0003, 4, system)
    assert decode_spz(with_extension(content, records)).splats.axes == axes
    raw = bytearray(gzip.decompress(encode_spz(asymmetric_cloud(5), version=3)))
    raw[14] |= 2
    raw += struct.pack("<IBB", 0xADBE0001, 5, 4) + struct.pack("<II", 0xADBE0003, system)
    assert decode_spz(gzip.compress(bytes(raw))).splats.axes == axes


def test_other_axes_are_refused_by_number() -> None:
    records = struct.pack("<III", 0xADBE0003, 4, 7)
    with pytest.raises(FormatError, match="coordinate system 7"):
        decode_spz(with_extension(encode_spz(asymmetric_cloud(5), version=4), records))


def test_axes_of_files_that_do_not_say_them_may_be_given() -> None:
    content = encode_spz(asymmetric_cloud(5))
    assert decode_spz(content, axes_if_unsaid="y-down").splats.axes == "y-down"


def test_a_fourth_band_is_left_out_and_said() -> None:
    raw = bytearray(gzip.decompress(encode_spz(asymmetric_cloud(5, 3))))
    rows = np.frombuffer(bytes(raw[-5 * 45 :]), np.uint8).reshape(5, 45)
    raw[12] = 4
    raw[-5 * 45 :] = np.concatenate([rows, np.full((5, 27), 200, np.uint8)], axis=1).tobytes()
    reading = decode_spz(gzip.compress(bytes(raw)))
    assert reading.splats.sh_degree == 3
    assert reading.notes == ("Left out the fourth band of spherical harmonics, which is not drawn.",)
    np.testing.assert_array_equal(
        reading.splats.harmonics, decode_spz(encode_spz(asymmetric_cloud(5, 3))).splats.harmonics
    )


EXPECTED_WORDS = {
    "zero_bytes.spz": "empty",
    "truncated.spz": "incomplete",
    "not_gzip.spz": "Not an .spz file",
    "version_99.spz": "version 99",
    "wrong_magic.spz": "magic number",
    "count_2147483647.spz": "2147483647 splats announced",
    "sh_degree_9.spz": "degree 9",
    "zip_bomb_64MB.spz": "more data than its header announces",
}


@pytest.mark.parametrize("name", EXPECTED_WORDS)
def test_bad_files_are_refused_in_a_sentence(name: str, shared_assets: Path) -> None:
    with pytest.raises(FormatError, match=EXPECTED_WORDS[name]):
        read_spz(shared_assets / "bad_inputs" / name)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (8, struct.pack("<I", 0), "no splats"),
        (8, struct.pack("<I", 6), "its table says"),
        (8, struct.pack("<I", 2**32 - 1), "splats announced"),
        (13, b"\x40", "fractional bits"),
        (15, b"\x05", "streams"),
        (16, struct.pack("<I", 2**31), "streams"),
        (32, struct.pack("<Q", 2**63), "bytes too early"),
        (32, struct.pack("<Q", 3), "damaged"),
        (40, struct.pack("<Q", 2**63), "its table says"),
    ],
)
def test_damage_of_version_4_is_named(place: int, value: bytes, words: str) -> None:
    content = bytearray(encode_spz(asymmetric_cloud(5), version=4))
    content[place : place + len(value)] = value
    with pytest.raises(FormatError, match=words):
        decode_spz(bytes(content))


@settings(max_examples=150)
@given(st.sampled_from([3, 4]), st.integers(0, 10**9), st.binary(min_size=1, max_size=4), st.booleans())
def test_flipped_bytes_are_refused_or_read_but_never_crash(version: int, place: int, flipped: bytes, cut: bool) -> None:
    content = bytearray(encode_spz(asymmetric_cloud(6, 1), version=version))
    if version == 3:
        content = bytearray(gzip.decompress(content))
    place %= len(content)
    content[place : place + len(flipped)] = flipped
    content = content[:place] if cut else content
    try:
        splats = decode_spz(gzip.compress(bytes(content)) if version == 3 else bytes(content)).splats
    except FormatError:
        return
    assert all(np.isfinite(getattr(splats, name)).all() for name in ARRAY_NAMES)


def test_without_zstd_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode_spz(asymmetric_cloud(3), version=4)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(FormatError, match="found neither; install zstandard or use version 3"):
        decode_spz(content)
