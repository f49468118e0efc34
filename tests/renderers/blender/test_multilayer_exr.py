"""The reader against files laid out here by the "File Layout" document; Blender's own are read in tests/blender."""

import struct
from pathlib import Path

import numpy as np
import pytest

from distill_core.cameras import orbit_camera
from renderers.blender.multilayer_exr import DamagedExr, read_channels, read_texts
from renderers.blender.passes import (
    read_albedo,
    read_colours,
    read_depth,
    read_normals,
    read_object_indices,
    reported_seconds,
)


def write_exr(
    path: Path,
    channels: dict[str, np.ndarray],
    *,
    compression: int = 0,
    top: int = 0,
    texts: dict[str, str] | None = None,
) -> Path:
    """By the "File Layout" document: header, table of offsets, one block a line, channels sorted by name."""
    height, width = next(iter(channels.values())).shape
    names = sorted(channels)

    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value

    listed = b"".join(name.encode() + b"\0" + struct.pack("<iiii", 2, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<4i", 0, top, width - 1, top + height - 1)
    header = struct.pack("<ii", 20000630, 2 | 0x400)  # long names
    header += attribute("channels", "chlist", listed) + attribute("compression", "compression", bytes([compression]))
    header += attribute("dataWindow", "box2i", window) + attribute("displayWindow", "box2i", window)
    header += attribute("lineOrder", "lineOrder", b"\0") + attribute("pixelAspectRatio", "float", struct.pack("<f", 1))
    header += attribute("screenWindowCenter", "v2f", bytes(8))
    header += attribute("screenWindowWidth", "float", struct.pack("<f", 1))
    header += b"".join(attribute(name, "string", text.encode()) for name, text in (texts or {}).items()) + b"\0"
    size = 4 * width * len(names)
    start = len(header) + 8 * height
    table = struct.pack(f"<{height}Q", *[start + row * (8 + size) for row in range(height)])
    lines = b"".join(
        struct.pack("<ii", top + row, size) + b"".join(channels[name][row].astype("<f4").tobytes() for name in names)
        for row in range(height)
    )
    path.write_bytes(header + table + lines)
    return path


def passes(width: int = 7, height: int = 5) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    names = [*(f"ViewLayer.Combined.{letter}" for letter in "RGBA"), "ViewLayer.Depth.Z"]
    names += [f"ViewLayer.Normal.{letter}" for letter in "XYZ"]
    return {name: generator.uniform(0.1, 1, (height, width)).astype(np.float32) for name in names}


def test_channels_come_back_as_they_are(tmp_path: Path) -> None:
    written = passes()
    read = read_channels(write_exr(tmp_path / "a.exr", written, top=3))
    assert read.keys() == written.keys()
    for name in written:
        np.testing.assert_array_equal(read[name], written[name])


@pytest.mark.parametrize("length", [0, 7, 60, 200, -1])
def test_a_file_that_is_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    whole = write_exr(tmp_path / "a.exr", passes())
    whole.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(DamagedExr):
        read_channels(whole)


def test_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedExr, match="compression"):
        read_channels(write_exr(tmp_path / "a.exr", passes(), compression=3))
    with pytest.raises(DamagedExr):
        read_channels(tmp_path / "not_there.exr")


def test_light_becomes_straight_srgb(tmp_path: Path) -> None:
    """Half covered, half as bright as white: straight grey of linear 0.5 is 188 of 255 (IEC 61966-2-1)."""
    values = passes(2, 1)
    for letter in "RGB":
        values[f"ViewLayer.Combined.{letter}"][:] = [[0.25, 3.0]]
    values["ViewLayer.Combined.A"][:] = [[0.5, 1.0]]
    write_exr(tmp_path / "000.colour.exr", values)
    rgba = read_colours(tmp_path, 0)
    np.testing.assert_allclose(rgba[:3, 0, 0] * 255, 187.516, atol=0.1)
    np.testing.assert_allclose(rgba[:, 0, 1], 1)
    assert rgba[3, 0, 0] == 0.5


def test_sky_is_empty_and_normals_face_the_camera(tmp_path: Path) -> None:
    values = passes(3, 1)
    values["ViewLayer.Depth.Z"][:] = [[2.0, 1e10, 2.0]]
    # The camera stands at -y and looks along +y.
    for letter, row in zip("XYZ", ([0, 0, 0], [-2.0, 0, 1.0], [0, 0, 0]), strict=True):
        values[f"ViewLayer.Normal.{letter}"][:] = [row]
    write_exr(tmp_path / "000.geometry.exr", values)
    camera = orbit_camera(0, 0, width=3, height=1)
    np.testing.assert_array_equal(read_depth(tmp_path, 0), [[2, 0, 2]])
    normals = read_normals(tmp_path, 0, camera)
    np.testing.assert_allclose(normals[1, 0], [-1, 0, -1])


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    values = passes()
    values["ViewLayer.Combined.G"][2, 2] = np.nan
    write_exr(tmp_path / "000.colour.exr", values)
    with pytest.raises(DamagedExr, match="not finite"):
        read_colours(tmp_path, 0)


def test_seconds_that_cycles_states_are_summed(tmp_path: Path) -> None:
    channels = {"ViewLayer.Combined.A": np.ones((2, 2))}
    for name, text in (("000.colour", "00:01.25"), ("000.geometry", "00:00.03"), ("001.colour", "01:02:03.50")):
        texts = {"cycles.ViewLayer.total_time": text, "cycles.ViewLayer.render_time": "09:09.09", "Camera": "camera"}
        write_exr(tmp_path / f"{name}.exr", channels, texts=texts)
    write_exr(tmp_path / "001.geometry.exr", channels)
    assert reported_seconds(tmp_path) == pytest.approx(1.25 + 0.03 + 3723.5)
    (tmp_path / "001.geometry.exr").write_bytes(b"cut")
    with pytest.raises(DamagedExr):
        read_texts(tmp_path / "001.geometry.exr")


def test_albedo_is_divided_by_its_own_alpha_and_indices_are_whole_numbers(tmp_path: Path) -> None:
    alpha = np.array([[0.0, 0.5, 1.0]])
    base = np.array([0.2, 0.5, 0.9])
    channels = {f"V.DiffCol.{letter}": base[place] * alpha for place, letter in enumerate("RGB")}
    write_exr(tmp_path / "000.albedo.exr", channels | {"V.Combined.A": alpha})
    albedo = read_albedo(tmp_path, 0)
    # IEC 61966-2-1.
    expected = 1.055 * base ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(albedo[:3, 0, 1:], np.stack([expected] * 2, 1), atol=1e-5)
    np.testing.assert_allclose(albedo[3], alpha)
    write_exr(tmp_path / "000.geometry.exr", {"V.IndexOB.X": np.array([[0.0, 1.0, 300.0]])})
    assert read_object_indices(tmp_path, 0).tolist() == [[0, 1, 300]]
