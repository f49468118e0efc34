import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_integration.formats.arrays import ARRAY_NAMES, AXES, SplatArrays
from gs_integration.formats.errors import FormatError
from gs_integration.formats.ply import decode_ply, encode_ply, read_ply, write_ply

REQUIRED = "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()


def assert_same(got: SplatArrays, expected: SplatArrays) -> None:
    for name in ARRAY_NAMES:
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)
    assert (got.axes, got.antialiased) == (expected.axes, expected.antialiased)


def text_ply(names: Sequence[str], rows: np.ndarray, *header: str, kind: str = "float") -> bytes:
    lines = ["ply", "format ascii 1.0", *header, f"element vertex {len(rows)}"]
    lines += [f"property {kind} {name}" for name in names] + ["end_header"]
    return "\n".join([*lines, *(" ".join(map(str, row)) for row in rows.tolist()), ""]).encode()


@settings(max_examples=25)
@given(
    st.integers(1, 9),
    st.sampled_from([0, 1, 2, 3]),
    st.sampled_from(AXES),
    st.booleans(),
    st.integers(0, 99),
)
def test_reading_inverts_writing(make_arrays, count: int, degree: int, axes, antialiased: bool, seed: int) -> None:
    splats = make_arrays(count, degree, axes=axes, seed=seed)
    splats = replace(splats, antialiased=antialiased)
    # What the header says wins over what the caller supposes.
    for supposed in AXES:
        reading = decode_ply(encode_ply(splats), axes_if_unsaid=supposed)
        assert_same(reading.splats, splats)
        assert reading.notes == ()


def test_layout_is_inrias(make_arrays) -> None:
    splats = make_arrays(5, 3)
    content = encode_ply(splats)
    header, _, body = content.partition(b"end_header\n")
    names = re.findall(r"property float (\w+)", header.decode())
    assert names[:9] == "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2".split()
    assert names[9:54] == [f"f_rest_{i}" for i in range(45)]
    assert names[54:] == "opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
    rows = np.frombuffer(body, "<f4").reshape(5, 62)
    # All coefficients of red, then of green, then of blue.
    np.testing.assert_array_equal(rows[:, 9:24], splats.harmonics[:, 1:, 0])
    np.testing.assert_array_equal(rows[:, 39:54], splats.harmonics[:, 1:, 2])


def test_a_file_by_others(shared_assets: Path) -> None:
    path = shared_assets / "splats" / "minimal" / "supersplat_64_sh3_inria.ply"
    splats = read_ply(path).splats
    assert (len(splats), splats.sh_degree, splats.axes) == (64, 3, "y-down")
    content = path.read_bytes()
    header, _, body = content.partition(b"end_header\n")
    names = re.findall(r"property float (\w+)", header.decode())
    rows = dict(zip(names, np.frombuffer(body, "<f4").reshape(64, len(names)).T, strict=True))
    for index, name in enumerate("xyz"):
        np.testing.assert_array_equal(splats.means[:, index], rows[name])
    for index in range(4):
        np.testing.assert_array_equal(splats.quaternions_wxyz[:, index], rows[f"rot_{index}"])
    for channel, coefficient in itertools.product(range(3), range(15)):
        expected = rows[f"f_rest_{15 * channel + coefficient}"]
        np.testing.assert_array_equal(splats.harmonics[:, 1 + coefficient, channel], expected)


def test_other_readers_see_the_points(make_arrays, tmp_path: Path) -> None:
    splats = make_arrays(7)
    write_ply(tmp_path / "splats.ply", splats)
    cloud = trimesh.load(tmp_path / "splats.ply")
    assert isinstance(cloud, trimesh.PointCloud)
    np.testing.assert_array_equal(np.asarray(cloud.vertices, np.float32), splats.means)


def test_order_of_properties_does_not_matter_and_others_are_ignored() -> None:
    generator = np.random.default_rng(0)
    names = [*REQUIRED, "confidence"]
    rows = generator.standard_normal((4, len(names))).astype(np.float32).astype(np.float64)
    order = generator.permutation(len(names))
    one = decode_ply(text_ply(names, rows)).splats
    other = decode_ply(text_ply([names[i] for i in order], rows[:, order], kind="double")).splats
    assert_same(one, other)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_line_ends_byte_orders_and_elements_before(line_end: bytes, byte_order: str) -> None:
    rows = np.random.default_rng(1).standard_normal((3, 14))
    endian = "little" if byte_order == "<" else "big"
    header = ["ply", f"format binary_{endian}_endian 1.0", "element camera 2", "property uchar id", "property short f"]
    header += ["element vertex 3", *(f"property double {name}" for name in REQUIRED), "end_header"]
    content = (
        line_end.join([*(line.encode() for line in header), b""]) + bytes(6) + rows.astype(byte_order + "f8").tobytes()
    )
    splats = decode_ply(content).splats
    np.testing.assert_array_equal(splats.means, rows[:, :3].astype(np.float32))
    np.testing.assert_array_equal(splats.quaternions_wxyz, rows[:, 10:].astype(np.float32))


@pytest.mark.parametrize(
    ("comment", "axes", "antialiased"),
    [
        ("comment Vertical Axis: z", "z-up", False),
        ("comment Axes: Y-Up", "y-up", False),
        ("comment SplatRenderMode: mip", "y-down", True),
        ("comment antialiased 1", "y-down", True),
        ("comment antialiased 0", "y-down", False),
        ("comment axes are fun", "y-down", False),
    ],
)
def test_comments_of_several_writers(comment: str, axes: str, antialiased: bool) -> None:
    splats = decode_ply(text_ply(REQUIRED, np.ones((1, 14)), comment)).splats
    assert (splats.axes, splats.antialiased) == (axes, antialiased)


EXPECTED_WORDS = {
    "zero_bytes.ply": "empty",
    "mesh_where_splats_expected.ply": "This is a mesh, not splats",
    "point_cloud.ply": "point cloud",
    "splat_missing_rot_3.ply": "property rot_3 is missing",
    "splat_f_rest_not_a_degree.ply": "7, fits no degree",
    "splat_truncated.ply": "20 splats announced, 15 there",
    "ply_count_2147483648.ply": "2147483648 splats announced, 20 there",
    "ply_count_negative.ply": "vertex count -5",
    "ply_header_never_ends.ply": "no end_header",
    "splat_zero_rows.ply": "no splats",
}
EXPECTED_ROWS = {"splat_nan_inf.ply": 17, "splat_scale_exp_80.ply": 19, "splat_big_endian.ply": 20}


def test_bad_files_do_as_their_list_expects(shared_assets: Path) -> None:
    folder = shared_assets / "bad_inputs"
    with (folder / "README.csv").open() as file:
        expected = {row["file"]: row["expected"] for row in csv.DictReader(file) if row["file"].endswith(".ply")}
    assert set(expected) == {*EXPECTED_WORDS, *EXPECTED_ROWS}
    for name, what in expected.items():
        if what == "error":
            with pytest.raises(FormatError, match=EXPECTED_WORDS[name]):
                read_ply(folder / name)
        else:
            reading = read_ply(folder / name)
            assert len(reading.splats) == EXPECTED_ROWS[name]
            assert bool(reading.notes) == (what == "warning")
            assert all(np.isfinite(getattr(reading.splats, array)).all() for array in ARRAY_NAMES)


def test_dropped_rows_are_counted_by_reason(shared_assets: Path) -> None:
    notes = " ".join(read_ply(shared_assets / "bad_inputs" / "splat_nan_inf.ply").notes)
    # Position NaN, scale -inf; zero quaternion; the opacity of +inf is opaque.
    assert "Dropped 2 of 20 splats whose values are not finite." in notes
    assert "Dropped 1 of 20 splats whose values have no rotation." in notes


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"ply\n", b"plx\n", "Not a .ply file"),
        (b"format ascii 1.0", b"format morse 1.0", "expected a format"),
        (b"format ascii 1.0\n", b"", "no line 'format'"),
        (b"property float y", b"property float x", "appears twice"),
        (b"property float y", b"property quad y", "cannot read the property"),
        (b"property float y", b"property list uchar float y", "is a list"),
        (b"property float y", b"nonsense", "cannot read the line"),
        (b"element vertex 2", b"element vertex", "expected a name and a count"),
        (b"element vertex 2", b"element vertex 3", "3 splats announced, 2 there"),
        (b"element vertex 2", b"element vertex 99999999999999999999", "vertex count 9999"),
        (b"element vertex 2", b"element corner 2", "no element 'vertex'"),
        (b"\n1.0 ", b"\none ", "numbers alone"),
        (b"\n1.0 ", b"\n1.0 1.0 ", "14 numbers in every line"),
        (b"rot_3", b"rot_9", "rot_3 is missing"),
        (b"\n1.0 ", b"\nnan ", "no splats that can be drawn"),
    ],
)
def test_damage_is_named(old: bytes, new: bytes, words: str) -> None:
    content = text_ply(REQUIRED, np.ones((2, 14)))
    assert old in content
    with pytest.raises(FormatError, match=words):
        decode_ply(content.replace(old, new))


@settings(max_examples=200)
@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=4))
def test_flipped_bytes_are_refused_or_read_but_never_crash(make_arrays, place: int, flipped: bytes) -> None:
    content = bytearray(encode_ply(make_arrays(3, 1)))
    place %= len(content)
    content[place : place + len(flipped)] = flipped
    try:
        splats = decode_ply(bytes(content)).splats
    except FormatError:
        return
    assert all(np.isfinite(getattr(splats, name)).all() for name in ARRAY_NAMES)


def test_a_failed_write_leaves_what_was_there(make_arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "splats.ply"
    path.write_bytes(b"before")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_ply(path, make_arrays())
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["splats.ply"]
