"""What texturing a mesh returns, and how it is saved: whole, in one step, or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from distill_core.cameras import Camera, orbit_camera
from distill_core.pictures.images import write_png
from distill_core.progress import Progress
from gs_integration.output_folder import complete_folder
from gs_integration.pipelines import result_files
from gs_integration.pipelines.report import RunRecord, write_json
from gs_integration.pipelines.result_names import TEXTURE_RESULTS
from gs_integration.pipelines.results import FramedSource
from gs_integration.pipelines.texture_settings import TextureSettings
from gs_integration.texturing.texture_projection import TextureCoverage
from gs_integration.texturing.texture_scores import SeamScore
from gs_integration.turntable import write_film
from renderers.mesh_rendering import RenderableMesh, prepare, render_views
from renderers.mesh_saving import save_glb, wearing
from renderers.meshes import TexturedMesh, transformed
from renderers.texture_space.unwrapping import UnwrappedMesh

Lifted = Literal["pixels", "colours", "nothing"]

_TURNTABLE_PX = 384
_TURNTABLE_ELEVATION_DEGREES = 15.0
_PREVIEW_PX = 192


@dataclass(frozen=True)
class TexturedResult:
    """A mesh with the texture that views of it agreed on.

    Attributes:
        settings: those of the job.
        source: the picture and the camera that is taken to have taken it; None after a prompt.
        outline_iou: how far the outlines of picture and mesh overlap in that camera, 0..1.
        picture_lifted: what of the picture lies on the mesh: its pixels, as sharp as they are, where its outline fits;
            its colours, stretched over the mesh and seen by the generator alone; or nothing.
        unwrapped: the mesh in the unit ball, with the coordinates of the texture.
        unit_to_mesh: [4, 4], from the unit ball to the mesh that was given.
        texture: [3, S, S] sRGB values in 0..1, row 0 on top.
        joined_texels: along a side of the texture that the views were joined in, which may be smaller.
        cameras: V cameras of the views.
        views: [V, 4, h, w] straight RGBA: each view's own last prediction with the mesh's silhouette.
        coverage: how much of the texture comes from the views.
        seams: whether charts meet without a jump.
        consistency_psnr: [V] of each view against the render of the texture, in dB inside the object.
    """

    settings: TextureSettings
    source: FramedSource | None
    outline_iou: float | None
    picture_lifted: Lifted
    unwrapped: UnwrappedMesh
    unit_to_mesh: Float64[np.ndarray, "4 4"]
    texture: Float[np.ndarray, "3 size size"]
    joined_texels: int
    cameras: list[Camera]
    views: Float[np.ndarray, "views 4 height width"]
    coverage: TextureCoverage
    seams: SeamScore
    consistency_psnr: Float[np.ndarray, " views"]

    @property
    def textured(self) -> TexturedMesh:
        """The mesh wearing its texture, at the size and place that it was given with."""
        return transformed(wearing(self.unwrapped.mesh, self.texture), self.unit_to_mesh)

    def findings(self) -> dict[str, object]:
        """What the report says of the texture."""
        unwrapped = self.unwrapped
        return {
            **self._about_picture(),
            "mesh": {
                "name": unwrapped.mesh.name,
                "faces": len(unwrapped.mesh.faces),
                "coordinates": unwrapped.method,
                "because": unwrapped.reason,
                "unwrapping_seconds": round(unwrapped.seconds, 3),
            },
            "views": len(self.cameras),
            "texture": {"texels": self.texture.shape[1], "joined_at_texels": self.joined_texels},
            "coverage": {
                "of_surface": round(self.coverage.surface_share, 4),
                "of_what_views_show": round(self.coverage.view_share, 4),
                "filled": round(self.coverage.filled_share, 4),
            },
            "seams": {
                "ratio": round(self.seams.ratio, 4),
                "across": round(self.seams.across, 5),
                "beside": round(self.seams.beside, 5),
                "edges": self.seams.num_edges,
            },
            "consistency_psnr": {
                "mean": float(self.consistency_psnr.mean()),
                "lowest": float(self.consistency_psnr.min()),
                "views": [round(float(value), 2) for value in self.consistency_psnr],
            },
        }

    def _about_picture(self) -> dict[str, object]:
        source = self.source
        if source is None or self.outline_iou is None:
            return {}
        return {
            "input": None if source.path is None else str(source.path),
            "background_removed_by": source.matting,
            "elevation_degrees": source.elevation_degrees,
            "elevation_estimated": source.elevation_estimated,
            "outline_iou": round(self.outline_iou, 4),
            "picture_lifted": self.picture_lifted,
        }

    def save(self, folder: Path, run: RunRecord) -> None:
        """Write `textured.glb`, `texture.png`, `views/`, cameras, film, preview and `report.json`; `input.png` if any.

        Args:
            folder: new, empty, or holding an earlier result, which is replaced.
            run: the record of the job.

        Raises:
            UserError: the folder holds something else, or a file cannot be written.
            OSError: the folder cannot be written.
        """
        renderable = prepare(wearing(self.unwrapped.mesh, self.texture))
        num_frames = self.settings.turntable_frames
        with complete_folder(folder, TEXTURE_RESULTS) as temporary:
            run.progress.stage("turntable", num_frames)
            frames = mesh_turntable(renderable, num_frames=num_frames, side_px=_TURNTABLE_PX, progress=run.progress)
            write_film(temporary / "turntable.mp4", frames, side_px=_TURNTABLE_PX)
            run.progress.stage("files", None)
            write_png(temporary / "texture.png", self.texture)
            save_glb(self.textured, temporary / "textured.glb")
            about: dict[str, object] = {}
            if self.source is not None:
                about["elevation_degrees"] = self.source.elevation_degrees
            result_files.write_pictures(temporary, self._input(), self.views, self.cameras, about)
            result_files.write_sheet(
                temporary / "preview.png", self._labelled(), renders=self._renders(renderable), side_px=_PREVIEW_PX
            )
            write_json(temporary / "report.json", run.report(self.settings, **self.findings()))

    def _input(self) -> tuple[np.ndarray, Camera] | None:
        return None if self.source is None else (self.source.rgba, self.source.camera)

    def _labelled(self) -> list[tuple[str, np.ndarray]]:
        """The picture, if there is one, and the views over white, RGB, each with a few words of what it is."""
        words = [result_files.angles_label(camera) for camera in self.cameras]
        pictures = list(self.views)
        if self.source is not None:
            words, pictures = ["input", *words], [self.source.rgba, *pictures]
        return [(word, result_files.over_white(picture)) for word, picture in zip(words, pictures, strict=True)]

    def _renders(self, renderable: RenderableMesh) -> list[tuple[str, np.ndarray]]:
        """The textured mesh from the cameras of the same pictures, over white; the picture's may be stretched."""
        first = [] if self.source is None else [self.source.camera]
        cameras = [camera.resized(_PREVIEW_PX, _PREVIEW_PX) for camera in (*first, *self.cameras)]
        rendered = render_views(renderable, cameras, with_normals=False).colour
        words = ["textured"] * len(cameras)
        if self.picture_lifted == "colours":
            words[0] = "textured, stretched"
        return [(word, result_files.over_white(picture)) for word, picture in zip(words, rendered, strict=True)]


def mesh_turntable(mesh: RenderableMesh, *, num_frames: int, side_px: int, progress: Progress) -> Iterator[np.ndarray]:
    """Yield one picture a step of a full turn of a mesh, uint8 [side, side, 3], over white.

    Args:
        mesh: in the unit ball.
        num_frames: steps of the turn, which begins at azimuth 0.
        side_px: side of the frames in pixels.
        progress: told of each frame.
    """
    for frame in range(num_frames):
        camera = orbit_camera(360 * frame / num_frames, _TURNTABLE_ELEVATION_DEGREES, width=side_px, height=side_px)
        picture = result_files.over_white(render_views(mesh, [camera], with_normals=False).colour[0])
        yield (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
        progress.advance()
