from pathlib import Path

import numpy as np
import pytest

from gs_integration.formats.errors import FormatError
from gs_integration.formats.harmonics import SH_BAND_0
from gs_integration.formats.ply import read_ply
from gs_integration.formats.splat import decode_splat, encode_splat, read_splat
from tests.gs_integration.formats.clouds import asymmetric_cloud, opacities, turns_between


def test_a_file_by_others_is_written_again_byte_for_byte_in_its_order(shared_assets: Path) -> None:
    content = (shared_assets / "splats" / "playbot.splat").read_bytes()
    original = read_ply(shared_assets / "splats" / "playbot_inria.ply").splats
    theirs, ours = (
        np.frombuffer(each, [("floats", "<f4", 6), ("bytes", "u1", 8)]) for each in (content, encode_splat(original))
    )
    assert len(theirs) == len(ours)
    # Two splats of one size may stand in either order, and logarithms come back with an error of float32.
    order_theirs, order_ours = (np.lexsort(each["floats"][:, :3].T) for each in (theirs, ours))
    theirs, ours = theirs[order_theirs], ours[order_ours]
    np.testing.assert_array_equal(ours["floats"][:, :3], theirs["floats"][:, :3])
    np.testing.assert_allclose(ours["floats"][:, 3:], theirs["floats"][:, 3:], rtol=2e-6)
    # Some writers cut a byte off where others round it.
    difference = np.abs(ours["bytes"].astype(int) - theirs["bytes"])
    assert np.minimum(difference, 256 - difference).max() <= 1


def test_what_covers_most_comes_first(shared_assets: Path) -> None:
    for splats in (
        read_splat(shared_assets / "splats" / "playbot.splat").splats,
        decode_splat(encode_splat(asymmetric_cloud(200))).splats,
    ):
        size = np.exp(splats.log_scales.astype(np.float64).sum(axis=1))
        # Opacities were rounded or cut off to bytes after the splats were sorted, and sizes to float32.
        least, most = size * (opacities(splats) - 1 / 255), size * (opacities(splats) + 1 / 255)
        assert (least[1:] <= most[:-1] * (1 + 1e-5)).all()


def test_nothing_is_lost_beyond_the_bytes_of_the_format() -> None:
    splats = asymmetric_cloud(300, 0, axes="y-down")
    found = decode_splat(encode_splat(splats)).splats
    order = [np.nonzero((splats.means == mean).all(axis=1))[0][0] for mean in found.means]
    expected = splats.select(np.array(order))
    np.testing.assert_array_equal(found.means, expected.means)
    np.testing.assert_allclose(found.log_scales, expected.log_scales, atol=1e-6)
    assert np.abs(opacities(found) - opacities(expected)).max() <= 0.5 / 255 + 1e-6
    assert np.abs(found.harmonics - expected.harmonics).max() <= 0.5 / 255 / SH_BAND_0 + 1e-5
    # Four components within half a step of 1/128, one of them possibly cut off at 127; twice that is the angle.
    assert turns_between(found, expected).max() <= 2 * np.sqrt(3 * 0.5**2 + 1) / 128


def test_flat_and_opaque_splats_are_kept() -> None:
    content = np.zeros(1, [("floats", "<f4", 6), ("bytes", "u1", 8)])
    content["floats"] = [1, 2, 3, 0.1, 0.2, 0]
    content["bytes"] = [255, 128, 0, 255, 255, 128, 128, 128]
    reading = decode_splat(content.tobytes())
    assert reading.notes == ()
    assert np.exp(reading.splats.log_scales[0, 2]) < 1e-8
    assert opacities(reading.splats)[0] > 0.999
    np.testing.assert_allclose(0.5 + SH_BAND_0 * reading.splats.harmonics[0, 0], [1, 128 / 255, 0], atol=1e-6)


@pytest.mark.parametrize(("name", "words"), [("zero_bytes.splat", "empty"), ("length_not_32.splat", "327")])
def test_bad_files_are_refused_in_a_sentence(name: str, words: str, shared_assets: Path) -> None:
    with pytest.raises(FormatError, match=words):
        read_splat(shared_assets / "bad_inputs" / name)


def test_rows_that_cannot_be_drawn_are_dropped_and_counted() -> None:
    rows = np.frombuffer(encode_splat(asymmetric_cloud(4)), [("floats", "<f4", 6), ("bytes", "u1", 8)]).copy()
    rows["floats"][0, 0], rows["floats"][1, 3], rows["bytes"][2, 4:] = np.nan, -1, 128
    reading = decode_splat(rows.tobytes())
    assert len(reading.splats) == 1
    assert "Dropped 2 of 4 splats whose values are not finite." in reading.notes
    assert "Dropped 1 of 4 splats whose values have no rotation." in reading.notes
