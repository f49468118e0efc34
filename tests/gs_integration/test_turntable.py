from pathlib import Path

import numpy as np
import pytest
import torch

from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from gs_integration.splats import Splats, harmonics_from_colours
from gs_integration.turntable import turntable_frames, write_film
from tests.gs_integration.films import film_frames


def red_ball_at(position: tuple[float, float, float]) -> Splats:
    return Splats(
        means=torch.tensor([position]),
        quaternions_wxyz=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.full((1, 3), -2.5),
        opacity_logits=torch.tensor([6.0]),
        harmonics=harmonics_from_colours(torch.tensor([[1.0, 0, 0]])),
    )


def test_what_stands_to_the_right_is_passed_by_on_the_left_half_a_turn_later():
    frames = list(turntable_frames(red_ball_at((0.5, 0, 0)), num_frames=2, side_px=64, progress=SilentProgress()))
    # Azimuth 0 looks from -y, so +x is on the right; from the other side it is on the left.
    columns = [np.argmin(frame[..., 1].min(axis=0)) for frame in frames]
    assert columns[0] > 40
    assert columns[1] < 24
    assert all(frame[0, 0].min() == 255 for frame in frames)


def test_a_film_holds_its_frames(tmp_path: Path):
    frames = [np.full((64, 64, 3), level, np.uint8) for level in (40, 120, 200)]
    write_film(tmp_path / "film.mp4", iter(frames), side_px=64)
    read = film_frames(tmp_path / "film.mp4", 64)
    assert read.shape == (3, 64, 64, 3)
    # H.264 of a plain picture; its limited range costs a level or two.
    np.testing.assert_allclose(read.mean(axis=(1, 2, 3)), [40, 120, 200], atol=3)


def test_a_film_that_cannot_be_written_says_so(tmp_path: Path):
    with pytest.raises(UserError, match=r"film\.mp4.*No such file"):
        write_film(tmp_path / "no" / "film.mp4", iter([np.zeros((64, 64, 3), np.uint8)]), side_px=64)
