"""Texture a mesh after one picture: views of it, denoised together, agree on one texture.

Writes textured.glb, texture.png, turntable.mp4, preview.png, input.png, views/, transforms.json and report.json.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from distill_core.progress import Progress
from gs_integration.pipelines.texture_settings import TextureSettings
from scripts.command_line import run, say


class TextureMesh(TextureSettings):
    """Command line of this program."""

    mesh: Annotated[Path, tyro.conf.Positional] = Field(
        description="the mesh: .glb, .gltf, .obj, .ply, .stl or .dae, with or without texture coordinates"
    )
    image: Path = Field(description="a picture of it, or of another object whose colours it shall have")
    output_dir: Path = Field(description="folder of the results")


def main(settings: TextureMesh, progress: Progress) -> None:
    """Texture the mesh, write it, and say how well the views agree."""
    from distill_core.images import read_picture
    from gs_integration.output_folder import check_replaceable
    from gs_integration.pipelines.report import file_sha256, recorded_run
    from gs_integration.pipelines.result_names import TEXTURE_RESULTS
    from renderers.meshes import load_mesh

    check_replaceable(settings.output_dir, TEXTURE_RESULTS)
    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        picture = read_picture(settings.image)
        mesh = load_mesh(settings.mesh, up_axis=None if settings.up_axis == "auto" else settings.up_axis)
        # Torch takes seconds to import: a picture or a mesh that cannot be used is refused before.
        from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
        from gs_integration.pipelines.devices import torch_device
        from gs_integration.pipelines.texture_mesh import texture_mesh

        record.progress.stage("checkpoint", None)
        file = find_checkpoint(settings.generator.checkpoint)
        generator = load_generator(file, torch_device(settings.generator.device))
        record.checkpoint = {"name": settings.generator.checkpoint, "sha256": file_sha256(file)}
        result = texture_mesh(mesh, picture, settings, generator, record.progress)
        result.save(settings.output_dir, record)
    say(result.source.elevation_sentence())
    laid = {"pixels": "pixels lie", "colours": "colours are stretched", "nothing": "colours are not laid"}
    say(
        f"The outlines of picture and mesh overlap by {result.outline_iou:.0%}; the picture's "
        f"{laid[result.picture_lifted]} on the mesh."
    )
    say(
        f"{len(result.cameras)} views texture {result.coverage.view_share:.1%} of what they show, "
        f"{result.coverage.surface_share:.1%} of the surface, and agree with the texture to "
        f"{result.consistency_psnr.mean():.1f} dB; seams jump {result.seams.ratio:.2f} times as far as colours beside "
        "them."
    )
    say(f"wrote {settings.output_dir}")


if __name__ == "__main__":
    run(main, TextureMesh, description=__doc__)
