import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from distill_core.errors import Cancelled, UserError
from distill_core.pictures.images import read_picture, write_png
from distill_core.progress import SilentProgress
from gs_integration.pipelines.joint_picture_files import curves, save_joint_pictures, zoom_frames
from gs_integration.pipelines.report import recorded_run
from gs_integration.pipelines.synchronization_settings import (
    AmbiguousSettings,
    JointSettings,
    Panorama360Settings,
    PanoramaSettings,
    SequenceSettings,
    ZoomSettings,
)
from gs_integration.pipelines.synchronize_pictures import synchronize_pictures


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> JointSettings:
    """The field of a picture of coloured noise over a grey ground, five steps."""
    picture = np.random.default_rng(0).random((3, 40, 48), dtype=np.float32) * 0.6 + 0.2
    file = tmp_path_factory.mktemp("field") / "picture.png"
    write_png(file, picture)
    return JointSettings(checkpoint=f"gaussian-field:{file}", steps=5)


TASKS = {
    "panorama": lambda joint: PanoramaSettings(joint=joint, window_px=8, width_px=20, height_px=10, stride_px=4),
    "panorama360": lambda joint: Panorama360Settings(joint=joint, window_px=8, height_px=16),
    "ambiguous": lambda joint: AmbiguousSettings(joint=joint, window_px=16, views=("identity", "jigsaw", "negate")),
    "zoom": lambda joint: ZoomSettings(joint=joint, window_px=16, levels=3, frames_per_level=2),
    "sequence": lambda joint: SequenceSettings(joint=joint, window_px=16, num_frames=40, overlap_frames=4),
}
EXTRA = {"zoom": {"zoom.mp4"}, "sequence": {"picture.png", "sequence.csv"}}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_makes_views_that_agree_and_its_files(name, joint, tmp_path: Path):
    settings = TASKS[name](joint)
    with recorded_run(SilentProgress()) as run:
        result = synchronize_pictures(settings, run.progress)
        save_joint_pictures(result, tmp_path / "out", run)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"views", "preview.png", "report.json"} | EXTRA.get(name, {"picture.png"})
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["coverage"] == 1
    assert report["views"] == len(list((tmp_path / "out" / "views").iterdir()))
    assert report["settings"]["joint"]["steps"] == 5
    # Grey around the picture's mean, in all views.
    assert 0.3 < float(result.views.mean()) < 0.7
    if name not in ("zoom", "sequence"):
        read = read_picture(tmp_path / "out" / "picture.png", smallest_side_px=8).rgba[:3]
        np.testing.assert_allclose(read, result.canonical, atol=0.5 / 255 + 1e-6)
    if name in ("panorama", "panorama360"):
        # The panorama stands above its views, enlarged as they are: 16 times, to 128 px a view.
        preview = read_picture(tmp_path / "out" / "preview.png").rgba[:3]
        _, height, width = result.canonical.shape
        shown = preview[:, 2 : 2 + 16 * height, : 16 * width]
        np.testing.assert_allclose(shown[:, ::16, ::16], result.canonical, atol=0.5 / 255 + 1e-6)
    if name == "sequence":
        rows = np.loadtxt(tmp_path / "out" / "sequence.csv", delimiter=",", skiprows=1)
        assert rows.shape == (40, 4)
        np.testing.assert_allclose(rows[:, 1:].T, result.canonical[:, 0] * 2 - 1, atol=1e-5)


def test_joined_windows_agree_and_separate_ones_do_not(joint):
    settings = TASKS["panorama"](joint)
    apart = settings.model_copy(update={"joint": joint.model_copy(update={"strategy": "none", "noise": "independent"})})
    views = [synchronize_pictures(each, SilentProgress()).views for each in (settings, apart)]
    # The first two windows of the first row share their columns from 4 and up to 4; pixels are copies of one canvas.
    together, separate = (np.abs(each[0][..., 4:] - each[1][..., :-4]).max() for each in views)
    assert together < 1e-6
    # Several steps of an 8-bit picture: a seam that can be seen.
    assert separate > 0.02


def with_relative(settings, relative: str, **changes):
    joint = settings.joint.model_dump() | {"relative": relative} | changes
    return type(settings)(**{**settings.model_dump(), "joint": joint})


@pytest.mark.parametrize(
    ("name", "relative"),
    [
        ("panorama", "view-updates"),
        ("panorama360", "view-updates"),
        ("ambiguous", "perceptual"),
        ("zoom", "score-distillation"),
        ("sequence", "view-updates"),
    ],
)
def test_relatives_run_on_the_same_tasks(name, relative, joint):
    class Counts(SilentProgress):
        total, done = 0, 0

        def stage(self, name: str, total: int | None) -> None:
            self.total = total or 0

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            assert preview is not None
            self.done += n

    counts = Counts()
    settings = with_relative(TASKS[name](joint), relative, steps=3)
    result = synchronize_pictures(settings, counts)
    assert counts.done == counts.total > 0
    assert result.coverage == 1
    assert 0.3 < float(result.views.mean()) < 0.7
    if relative != "score-distillation":
        assert not np.array_equal(result.views, synchronize_pictures(TASKS[name](joint), SilentProgress()).views)


def test_score_distillation_goes_to_the_fields_mean(tmp_path: Path):
    means = np.array([0.75, 0.5, 0.3], np.float32)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 0.05, (3, 32, 32)).astype(np.float32)
    write_png(tmp_path / "picture.png", (means + noise).clip(0, 1))
    settings = AmbiguousSettings(
        joint=JointSettings(
            checkpoint=f"gaussian-field:{tmp_path / 'picture.png'}", relative="score-distillation", steps=100
        ),
        window_px=16,
        views=("identity", "rotate-90"),
    )
    result = synchronize_pictures(settings, SilentProgress())
    # From grey, which is up to 0.25 away, to what is likeliest: the mean, everywhere.
    np.testing.assert_allclose(result.canonical.mean(axis=(1, 2)), means[:, 0, 0], atol=0.04)


@pytest.mark.parametrize(
    ("name", "relative", "changes"),
    [
        ("zoom", "view-updates", {}),
        ("sequence", "perceptual", {}),
        ("panorama", "perceptual", {}),
        ("ambiguous", "perceptual", {"strategy": "canonical-clean"}),
    ],
)
def test_relatives_that_a_task_cannot_have_are_refused(name, relative, changes, joint):
    with pytest.raises(ValidationError, match=r"--relative (perceptual|view-updates)"):
        with_relative(TASKS[name](joint), relative, **changes)


def test_the_same_seed_gives_the_same_picture(joint):
    settings = TASKS["sequence"](joint)
    first, second = (synchronize_pictures(settings, SilentProgress()).canonical for _ in range(2))
    assert np.array_equal(first, second)


def test_cancel_stops_within_a_step_and_previews_show_the_canonical_picture(joint):
    class Stops(SilentProgress):
        def __init__(self) -> None:
            self.seen: list[tuple[int, ...]] = []

        def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
            assert preview is not None
            self.seen.append(preview.shape)
            if len(self.seen) == 2:
                raise Cancelled

    stops = Stops()
    with pytest.raises(Cancelled):
        synchronize_pictures(TASKS["panorama"](joint), stops)
    assert stops.seen == [(3, 10, 20)] * 2


@pytest.mark.parametrize("checkpoint", ["small", "gaussian-field:", "gaussian-field:/nowhere/at/all.png"])
def test_other_checkpoints_are_refused_in_a_sentence(joint, checkpoint):
    settings = TASKS["sequence"](joint.model_copy(update={"checkpoint": checkpoint}))
    with pytest.raises(UserError, match="xpected"):
        synchronize_pictures(settings, SilentProgress())


@pytest.mark.parametrize(
    ("task", "values"),
    [
        (PanoramaSettings, {"window_px": 64, "height_px": 32}),
        (PanoramaSettings, {"stride_px": 65}),
        (Panorama360Settings, {"height_px": 1000}),
        (AmbiguousSettings, {"window_px": 30}),
        (ZoomSettings, {"window_px": 36, "magnification": 4}),
        (SequenceSettings, {"overlap_frames": 64}),
        (SequenceSettings, {"num_frames": 60}),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_any_work(joint, task, values):
    with pytest.raises(ValidationError, match="expected --"):
        task(joint=joint, **values)


def test_times_out_of_order_are_refused():
    with pytest.raises(ValidationError, match="--sync-from"):
        JointSettings(checkpoint="gaussian-field:x", sync_from=0.2, sync_until=0.5)


def test_a_film_of_levels_that_agree_flies_without_a_jump():
    rows, columns = np.mgrid[:32, :32] - 15.5
    levels = np.stack([np.stack([0.5 + rows * s, 0.5 + columns * s, 0.5 + 0 * rows]) for s in (1 / 64, 1 / 128)])
    frames = [frame.astype(float) / 255 for frame in zoom_frames(levels.astype(np.float32), 2, 4, 64)]
    assert len(frames) == 5
    # A ramp, magnified by 2^(1/4) a frame: its slope falls by as much, in the middle and outside.
    for number, frame in enumerate(frames[:-1]):
        slopes = np.diff(frame[8:56, 32, 0])
        # Eight bits, and the blur of what is reduced.
        np.testing.assert_allclose(slopes.mean(), 1 / 128 * 2 ** (-number / 4), rtol=0.06)


def test_curves_stand_as_high_as_their_values():
    channels = np.stack([np.full(50, 1.0), np.full(50, 0.0), np.full(50, 0.5)])
    picture = curves(channels, 41, 100)
    assert picture.shape == (3, 41, 100)
    assert picture[0, 0, 50] > picture[1, 0, 50]
    assert picture[1, 40, 50] > picture[0, 40, 50]
    assert picture[2, 20, 50] > picture[0, 20, 50]
