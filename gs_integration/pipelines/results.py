"""What the pipelines return, and how it is saved: whole, in one step, or not at all."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel

from distill_core.cameras import Camera
from distill_core.progress import SilentProgress
from distill_core.solids import Solid
from gs_integration.output_folder import complete_folder
from gs_integration.pipelines import result_files
from gs_integration.pipelines.report import RunRecord, StageClock, write_json
from gs_integration.pipelines.result_names import SPLAT_RESULTS, VIEW_RESULTS
from gs_integration.pipelines.settings import ImageToSplatsSettings
from gs_integration.splats import Splats
from gs_integration.turntable import turntable_frames, write_film

_TURNTABLE_PX = 384


@dataclass(frozen=True)
class FramedSource:
    """The picture's object, centred and framed, with the camera that is taken to have taken it.

    Attributes:
        rgba: straight RGBA.
        camera: at azimuth 0, for pictures of that size.
        elevation_degrees: of the camera above the object's horizon.
        elevation_estimated: whether it was estimated from the picture.
        matting: how the background was removed.
        path: the picture's file, if it came from one.
    """

    rgba: Float[np.ndarray, "4 side side"]
    camera: Camera
    elevation_degrees: float
    elevation_estimated: bool
    matting: str
    path: Path | None = None

    def elevation_sentence(self) -> str:
        """Say from which height the picture is taken to have been taken."""
        side = "below" if round(self.elevation_degrees) < 0 else "above"
        degrees = abs(self.elevation_degrees)
        if self.elevation_estimated:
            return (
                f"The picture was taken from {degrees:.0f} degrees {side} the horizon as far as can be told from it "
                "(--elevation-degrees changes that)."
            )
        return f"The picture was taken from {degrees:g} degrees {side} the horizon, as given."


@dataclass(frozen=True)
class GeneratedViews:
    """Views of one object around its picture.

    Attributes:
        settings: those of the job.
        source: the picture and its camera.
        pictures: straight RGBA.
        cameras: one a view.
        solid: the predicted solid, in the frustum of the source camera.
    """

    settings: BaseModel
    source: FramedSource
    pictures: Float[np.ndarray, "views 4 height width"]
    cameras: list[Camera]
    solid: Solid

    def findings(self) -> dict[str, object]:
        """What the report says of the picture."""
        source = self.source
        return {
            "input": None if source.path is None else str(source.path),
            "background_removed_by": source.matting,
            "elevation_degrees": source.elevation_degrees,
            "elevation_estimated": source.elevation_estimated,
        }

    def save(self, folder: Path, run: RunRecord | None = None) -> None:
        """Write `input.png`, `views/`, `transforms.json`, `preview.png` and `report.json`.

        Args:
            folder: new, empty, or holding an earlier result, which is replaced.
            run: what is known of the job beside its results.

        Raises:
            UserError: the folder holds something else, or a picture cannot be written.
            OSError: the folder cannot be written.
        """
        run = run or _unrecorded_run()
        with complete_folder(folder, VIEW_RESULTS) as temporary:
            run.progress.stage("files", None)
            self.write_pictures(temporary, {})
            result_files.write_sheet(temporary / "preview.png", self.labelled())
            write_json(temporary / "report.json", run.report(self.settings, **self.findings()))

    def labelled(self) -> list[tuple[str, np.ndarray]]:
        """The input and the views over white, RGB, each with a few words of what it is."""
        words = [result_files.angles_label(camera) for camera in self.cameras]
        pictures = [self.source.rgba, *self.pictures]
        return [(word, result_files.over_white(each)) for word, each in zip(["input", *words], pictures, strict=True)]

    def write_pictures(self, folder: Path, metadata: dict[str, object]) -> None:
        """Write the pictures and their cameras into a folder that exists; metadata goes into transforms.json."""
        about = {"elevation_degrees": self.source.elevation_degrees, **metadata}
        source = self.source.rgba, self.source.camera
        result_files.write_pictures(folder, source, self.pictures, self.cameras, about)


@dataclass(frozen=True)
class SplatsFromPicture:
    """Splats of a picture's object, and the views that they were fitted to.

    Attributes:
        settings: those of the job.
        views: the picture, its camera, the generated views.
        splats: in the world's axes (z up), on the CPU.
        source_psnr: of the splats against the picture, from the picture's own camera, over white, in dB.
        source_psnr_inside: the same inside the picture's own mask.
    """

    settings: ImageToSplatsSettings
    views: GeneratedViews
    splats: Splats
    source_psnr: float
    source_psnr_inside: float

    def save(self, folder: Path, run: RunRecord | None = None) -> None:
        """Write what `GeneratedViews.save` writes, the splats in every format that was asked for, and `turntable.mp4`.

        Args:
            folder: new, empty, or holding an earlier result, which is replaced.
            run: what is known of the job beside its results.

        Raises:
            UserError: the folder holds something else, or a picture cannot be written.
            OSError: the folder cannot be written.
        """
        run = run or _unrecorded_run()
        with complete_folder(folder, SPLAT_RESULTS) as temporary:
            run.progress.stage("turntable", self.settings.turntable_frames)
            frames = turntable_frames(
                self.splats, num_frames=self.settings.turntable_frames, side_px=_TURNTABLE_PX, progress=run.progress
            )
            write_film(temporary / "turntable.mp4", frames, side_px=_TURNTABLE_PX)
            run.progress.stage("files", None)
            axes = self.settings.axes
            splats_to_world = result_files.write_splats(temporary / "splats.ply", self.splats, axes)
            for ending in self.settings.also_formats:
                result_files.write_splats(temporary / f"splats.{ending}", self.splats, "y-down")
            self.views.write_pictures(
                temporary, {"splats_to_world": splats_to_world.tolist(), "splats_file_path": "splats.ply"}
            )
            result_files.write_sheet(temporary / "preview.png", self.views.labelled(), renders=self._renders())
            findings = {
                **self.views.findings(),
                "splats": {"count": len(self.splats), "axes": axes},
                "source_view": {"psnr": self.source_psnr, "psnr_inside": self.source_psnr_inside},
            }
            write_json(temporary / "report.json", run.report(self.settings, **findings))

    def _renders(self) -> list[tuple[str, np.ndarray]]:
        """The splats from the cameras of the input and of the views, over white."""
        views = self.views
        renders = [
            result_files.render_over_white(self.splats, [views.source.camera])[0],
            *result_files.render_over_white(self.splats, views.cameras),
        ]
        return [("splats", render) for render in renders]


def _unrecorded_run() -> RunRecord:
    return RunRecord(None, None, StageClock(SilentProgress()))
