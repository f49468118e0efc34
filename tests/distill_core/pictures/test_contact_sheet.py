import numpy as np
import pytest

from distill_core.pictures.contact_sheet import CHECKERBOARD, contact_sheet


def test_pictures_stand_in_rows_from_the_left() -> None:
    pictures = [np.full((3, 8, 10), value, np.float32) for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    sheet = contact_sheet(pictures, columns=3)
    cell_height, cell_width = sheet.shape[1] // 2, sheet.shape[2] // 3
    middles = sheet[0, cell_height // 2 :: cell_height, cell_width // 2 :: cell_width]
    np.testing.assert_allclose(middles, [[0.1, 0.2, 0.3], [0.4, 0.5, 1.0]])
    for picture in pictures:
        assert np.count_nonzero(sheet[0] == picture[0, 0, 0]) == 80


def test_transparency_shows_the_background() -> None:
    half = np.full((4, 32, 32), 0.5, np.float32)
    half[3] = 0
    assert contact_sheet([half], 1, background=(1.0, 0.0, 0.0))[:, 18, 18].tolist() == [1, 0, 0]
    board = contact_sheet([half], 1, background=CHECKERBOARD)[0, 2:-2, 2:-2]
    assert {round(float(value), 3) for value in np.unique(board)} == {0.8, 1.0}
    half[3] = 1
    assert np.unique(contact_sheet([half], 1, background=CHECKERBOARD)[0, 2:-2, 2:-2]).tolist() == [0.5]


def test_labels_are_written_below_their_pictures() -> None:
    pictures = np.ones((2, 3, 16, 60), np.float32)
    plain, labelled = contact_sheet(pictures, 2), contact_sheet(pictures, 2, labels=["", "azimuth 45"])
    assert labelled.shape[1] > plain.shape[1]
    half = labelled.shape[2] // 2
    assert (labelled[:, :, :half] == 1).all()
    assert labelled[0, 18:, half:].min() < 0.3
    assert (labelled[0, :18] == 1).all()


def test_sizes_may_differ_and_wrong_calls_are_refused() -> None:
    sheet = contact_sheet([np.zeros((3, 4, 20), np.float32), np.zeros((4, 12, 6), np.float32)], columns=9)
    assert sheet.shape == (3, 16, 48)
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([], 3)
    with pytest.raises(ValueError, match="expected 1 labels"):
        contact_sheet([np.zeros((3, 4, 4), np.float32)], 1, labels=["a", "b"])
