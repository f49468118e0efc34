from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from gs_integration.formats.errors import FormatError
from gs_integration.formats.ply import decode_ply, read_ply
from tests.gs_integration.formats.clouds import opacities, turns_between


def test_a_file_is_what_another_program_unpacked_it_to(shared_assets: Path) -> None:
    folder = shared_assets / "splats" / "minimal"
    found = read_ply(folder / "supersplat_64_sh3.compressed.ply").splats
    unpacked = read_ply(folder / "supersplat_64_sh3_inria.ply").splats
    np.testing.assert_allclose(found.means, unpacked.means, atol=1e-6)
    np.testing.assert_allclose(found.log_scales, unpacked.log_scales, atol=1e-5)
    np.testing.assert_allclose(found.harmonics, unpacked.harmonics, atol=1e-5)
    np.testing.assert_allclose(opacities(found), opacities(unpacked), atol=1e-6)
    assert turns_between(found, unpacked).max() < 1e-3


def test_a_file_shows_the_splats_that_it_was_made_of(shared_assets: Path) -> None:
    found = read_ply(shared_assets / "splats" / "playbot.compressed.ply").splats
    original = read_ply(shared_assets / "splats" / "playbot_inria.ply").splats
    assert (len(found), found.sh_degree, found.axes) == (8406, 2, "y-down")
    distance, nearest = (np.asarray(each) for each in KDTree(original.means).query(found.means))
    assert distance.max() < 6.2e-4  # as the assets' README measured
    assert len(np.unique(nearest)) > 0.99 * len(original)  # splats that nearly coincide may be confused
    assert np.median(np.abs(opacities(found) - opacities(original)[nearest])) <= 1 / 255
    assert np.median(turns_between(found, original.select(nearest))) < 0.004


def test_older_files_have_no_bounds_for_colours(shared_assets: Path) -> None:
    """The same file with colours that are not counted within bounds."""
    content = (shared_assets / "splats" / "minimal" / "supersplat_64_sh3.compressed.ply").read_bytes()
    names = [f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"]
    head, body = content.split(b"end_header\n", 1)
    for name in names:
        head = head.replace(f"property float {name}\n".encode(), b"")
    chunk = np.frombuffer(body, "<f4", 18)[:12].tobytes()
    older = decode_ply(head + b"end_header\n" + chunk + body[72:]).splats
    newer = decode_ply(content).splats
    lowest, highest = np.frombuffer(body, "<f4", 18)[12:15], np.frombuffer(body, "<f4", 18)[15:18]
    shares = 0.5 + 0.28209479 * older.harmonics[:, 0]
    np.testing.assert_allclose(
        0.5 + 0.28209479 * newer.harmonics[:, 0], lowest + shares * (highest - lowest), atol=1e-5
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"element chunk 1", b"element chunk 2", "expected 1 chunks for 64 splats"),
        (b"element vertex 64", b"element vertex 0", "no splats"),
        (b"element vertex 64", b"element vertex 99999999", "expected 390625 chunks"),
        (b"uint packed_scale", b"uint packed_size", "packed_scale"),
        (b"uint packed_scale", b"int packed_scale", "packed_scale"),
        (b"float min_y", b"float low_y", "min_y missing"),
        (b"element sh 64", b"element sh 63", "expected 64 rows"),
        (b"uchar f_rest_44", b"uchar f_rest_45", "fits no degree"),
        (b"element chunk 1", b"element lump 1", "'chunk' and 'vertex'"),
    ],
)
def test_damage_is_named(old: bytes, new: bytes, words: str, shared_assets: Path) -> None:
    content = (shared_assets / "splats" / "minimal" / "supersplat_64_sh3.compressed.ply").read_bytes()
    assert old in content
    with pytest.raises(FormatError, match=words):
        decode_ply(content.replace(old, new))


def test_what_is_cut_off_is_incomplete(shared_assets: Path) -> None:
    content = (shared_assets / "splats" / "minimal" / "supersplat_64_sh3.compressed.ply").read_bytes()
    with pytest.raises(FormatError, match="64 rows of harmonics announced, 63 there"):
        decode_ply(content[:-1])
