"""Splats seen by cameras of a transforms.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import unpremultiply, write_png
from distill_core.progress import Progress
from distill_core.records.lens_distortion import undistorted_camera
from distill_core.records.transforms_files import stated_views, transforms_text
from gs_integration.output_folder import complete_folder
from gs_integration.pipelines.devices import splat_device, torch_device
from gs_integration.pipelines.report import RunRecord, write_json
from gs_integration.pipelines.result_names import RENDER_RESULTS
from gs_integration.pipelines.settings import RenderSplatsSettings
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats


@dataclass(frozen=True, eq=False)
class RenderedSplats:
    """Pictures of splats.

    Attributes:
        settings: those of the job.
        num_splats: how many were rendered.
        cameras: one a picture.
        pictures: straight RGBA [4, H, W] in 0..1; sizes may differ.
    """

    settings: RenderSplatsSettings
    num_splats: int
    cameras: list[Camera]
    pictures: list[np.ndarray]

    def save(self, folder: Path, run: RunRecord) -> None:
        """Write `views/NNN.png`, `transforms.json` and `report.json`.

        Args:
            folder: new, empty, or holding an earlier result, which is replaced.
            run: the record of the job.

        Raises:
            UserError: the folder holds something else, or a picture cannot be written.
            OSError: the folder cannot be written.
        """
        names = [f"views/{view:03d}.png" for view in range(len(self.pictures))]
        with complete_folder(folder, RENDER_RESULTS) as temporary:
            (temporary / "views").mkdir()
            for name, picture in zip(names, self.pictures, strict=True):
                write_png(temporary / name, picture)
            (temporary / "transforms.json").write_text(transforms_text(self.cameras, names), encoding="utf-8")
            write_json(temporary / "report.json", run.report(self.settings, splats={"count": self.num_splats}))


def render_splats(
    splats: Splats, cameras: Sequence[Camera], settings: RenderSplatsSettings, progress: Progress, *, antialiased: bool
) -> RenderedSplats:
    """Render splats from cameras.

    Args:
        splats: in the world of the cameras.
        cameras: at least one.
        settings: everything a person can choose.
        progress: stage "pictures".
        antialiased: the splats were made for antialiased rendering.

    Raises:
        Cancelled: the caller asked to stop.
    """
    device = splat_device(torch_device(settings.device))
    placed = splats.to(device)
    black = torch.zeros(3, device=device)
    pictures = []
    progress.stage("pictures", len(cameras))
    for camera in cameras:
        with torch.no_grad():
            rendered = rasterize(placed, [camera], black, antialiased=antialiased, backend="auto")
        rgba = torch.cat([rendered.colour[0], rendered.alpha], dim=0).clamp(0, 1)
        pictures.append(unpremultiply(rgba.cpu().numpy()[None])[0])
        progress.advance(1, pictures[-1][:3] * pictures[-1][3:])
    return RenderedSplats(settings, len(splats), list(cameras), pictures)


def sized_cameras(path: Path) -> list[Camera]:
    """The cameras of a transforms.json that says how large their pictures are; a lens's distortion is left out.

    Args:
        path: the file; its pictures are not looked for.

    Raises:
        UserError: no such file, a damaged one, or one that does not say the sizes.
    """
    cameras = []
    for view in stated_views(path)[0]:
        if view.stated_size is None:
            raise UserError(f"{path.name}: expected w and h of {view.label}, got neither; write them into the file.")
        camera = view.camera_at(*view.stated_size)
        if view.distortion is not None and not view.distortion.is_zero:
            camera = undistorted_camera(camera, view.distortion)
        cameras.append(camera)
    return cameras
