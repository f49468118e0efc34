import csv
import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gs_integration.formats.arrays import AXES
from gs_integration.formats.by_ending import FORMATS, FORMATS_READ, Writing, read_splat_file, write_splat_file
from gs_integration.formats.errors import FormatError
from gs_integration.formats.harmonics import SH_BAND_0
from tests.gs_integration.formats.clouds import asymmetric_cloud

LAYOUTS_OF_OTHERS = {".sog": "PlayCanvas's SOG", ".ksplat": "mkkellogg's ksplat"}


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMATS, FORMATS)))
def test_a_cloud_lands_where_it_was_through_every_pair_of_formats(first: str, second: str, tmp_path: Path) -> None:
    for axes, ply_axes in itertools.product(AXES, AXES):
        cloud = asymmetric_cloud(12, 0, axes=axes)
        write_splat_file(tmp_path / f"one.{first}", cloud, Writing(ply_axes))
        once = read_splat_file(tmp_path / f"one.{first}").splats
        write_splat_file(tmp_path / f"two.{second}", once, Writing(ply_axes))
        found = read_splat_file(tmp_path / f"two.{second}").splats.in_axes(axes).means
        # .splat sorts its splats; positions are float32, or steps of 2^-20 in .spz.
        distances = np.linalg.norm(found[:, None] - cloud.means[None], axis=2)
        assert distances.min(axis=0).max() < 3e-6
        assert len(set(distances.argmin(axis=1))) == len(cloud)


def test_every_file_of_others_loads_or_its_layout_is_named(shared_assets: Path) -> None:
    loaded = 0
    for file in sorted((shared_assets / "splats").rglob("*")):
        if file.suffix[1:] in FORMATS_READ:
            assert len(read_splat_file(file).splats)
            loaded += 1
        elif file.suffix in LAYOUTS_OF_OTHERS:
            with pytest.raises(FormatError, match=LAYOUTS_OF_OTHERS[file.suffix]):
                read_splat_file(file)
    assert loaded >= 13


def test_every_bad_file_is_refused_in_one_sentence(shared_assets: Path) -> None:
    folder = shared_assets / "bad_inputs"
    endings = (*FORMATS_READ, "ksplat")
    with (folder / "README.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["file"].rpartition(".")[2] in endings]
    assert len(rows) > 30
    for row in rows:
        if row["expected"] != "error":
            assert len(read_splat_file(folder / row["file"]).splats), row["file"]
            continue
        with pytest.raises(FormatError) as refusal:
            read_splat_file(folder / row["file"])
        assert len(str(refusal.value).splitlines()) == 1


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    cloud = asymmetric_cloud(3, 2)
    (note,) = write_splat_file(tmp_path / "cloud.splat", cloud)
    assert note == "The format .splat cannot hold spherical harmonics above degree 0 (here 2): left out."
    assert [write_splat_file(tmp_path / f"cloud.{ending}", cloud) for ending in ("ply", "spz", "glb")] == [()] * 3
    smooth = replace(cloud, antialiased=True)
    notes = {ending: write_splat_file(tmp_path / f"cloud.{ending}", smooth) for ending in FORMATS}
    assert [ending for ending in FORMATS if any("antialiased" in note for note in notes[ending])] == ["splat", "glb"]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("field", ["harmonics", "log_scales"])
def test_splats_that_a_format_cuts_off_are_counted(tmp_path: Path, ending: str, field: str) -> None:
    """Counted here as those that come back changed by more than half a step of the format."""
    half_steps = {
        ("harmonics", "splat"): 0.5 / 255 / SH_BAND_0,
        ("harmonics", "spz"): 0.5 / (255 * 0.15),
        ("log_scales", "spz"): 0.5 / 16,
    }
    cloud = asymmetric_cloud(60, 0)
    values = {"harmonics": cloud.harmonics, "log_scales": cloud.log_scales}[field] * np.float32(2.5)
    strong = replace(cloud, **{field: values}).in_axes("y-down")
    notes = write_splat_file(tmp_path / f"strong.{ending}", strong)
    found = read_splat_file(tmp_path / f"strong.{ending}").splats.in_axes("y-down")
    place = np.linalg.norm(found.means[:, None] - strong.means, axis=2).argmin(axis=0)
    wanted, got = getattr(strong, field).reshape(60, 3), getattr(found, field).reshape(60, 3)[place]
    # Logarithms of what is stored as it is come back with the error of float32.
    half_step = half_steps.get((field, ending), 0) + 1e-4
    num_changed = (np.abs(wanted - got) > half_step).any(axis=1).sum()
    assert (num_changed > 0) == ((field, ending) in half_steps)
    assert [note for note in notes if f"({num_changed} of 60 splats have some): cut off there" in note] == list(notes)
    assert len(notes) == (num_changed > 0)


def test_harmonics_that_spz_cuts_off_are_counted_in_its_axes(tmp_path: Path) -> None:
    cloud = asymmetric_cloud(5, 1, axes="y-up")
    harmonics = cloud.harmonics.copy()
    harmonics[:2, 1, 0] = 1.2
    (note,) = write_splat_file(tmp_path / "cloud.spz", replace(cloud, harmonics=harmonics))
    assert note == (
        "The format .spz cannot hold spherical harmonics beyond -1 to 1 (2 of 5 splats have some): cut off there."
    )


def test_axes_that_a_file_does_not_say_may_be_given(tmp_path: Path) -> None:
    write_splat_file(tmp_path / "cloud.splat", asymmetric_cloud(3))
    assert read_splat_file(tmp_path / "cloud.splat").splats.axes == "y-down"
    assert read_splat_file(tmp_path / "cloud.splat", axes_if_unsaid="z-up").splats.axes == "z-up"
    write_splat_file(tmp_path / "cloud.ply", asymmetric_cloud(3), Writing("y-up"))
    assert read_splat_file(tmp_path / "cloud.ply", axes_if_unsaid="z-up").splats.axes == "y-up"


def test_a_file_that_would_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.splat").open("wb") as file:
        os.truncate(file.fileno(), 9 << 30)  # sparse: takes no room
    with pytest.raises(FormatError, match="9 GiB, expected at most 8"):
        read_splat_file(tmp_path / "huge.splat")
    os.mkfifo(tmp_path / "pipe.ply")
    with pytest.raises(FormatError, match="a device or a pipe"):
        read_splat_file(tmp_path / "pipe.ply")
