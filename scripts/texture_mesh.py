"""Texture a mesh after one picture, or after a prompt: views of it, denoised together, agree on one texture.

Writes textured.glb, texture.png, turntable.mp4, preview.png, input.png, views/, transforms.json and report.json.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import tyro
from pydantic import Field, model_validator

from distill_core.progress import Progress
from gs_integration.pipelines.texture_settings import TextureSettings
from scripts.command_line import run, say

if TYPE_CHECKING:
    from distill_core.models.text_to_image import TextToImage
    from distill_core.models.view_generator import ViewGenerator
    from gs_integration.pipelines.report import RunRecord
    from gs_integration.pipelines.texture_results import TexturedResult


class TextureMesh(TextureSettings):
    """Command line of this program."""

    mesh: Annotated[Path, tyro.conf.Positional] = Field(
        description="the mesh: .glb, .gltf, .obj, .ply, .stl or .dae, with or without texture coordinates"
    )
    image: Path | None = Field(
        default=None,
        description="a picture of it, or of another object whose colours it shall have; with --prompt only what an "
        "--ip-adapter hears",
    )
    output_dir: Path = Field(description="folder of the results")

    @model_validator(mode="after")
    def _check_image(self) -> Self:
        prompted = bool(self.prompted.text.prompt)
        if self.image is None and not prompted:
            raise ValueError("expected --image PICTURE, or --prompt TEXT with --checkpoint, got neither")
        if prompted and (self.image is None) != (self.prompted.ip_adapter is None):
            raise ValueError("expected --image and --ip-adapter together beside --prompt, got one without the other")
        return self


def main(settings: TextureMesh, progress: Progress) -> None:
    """Texture the mesh, write it, and say how well the views agree."""
    from distill_core.pictures.images import read_picture
    from gs_integration.output_folder import check_outside, check_replaceable
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.result_names import TEXTURE_RESULTS
    from renderers.meshes import load_mesh

    check_replaceable(settings.output_dir, TEXTURE_RESULTS)
    for file in (settings.mesh, settings.image):
        if file is not None:
            check_outside(file, settings.output_dir)
    with recorded_run(progress, command=shlex.join(["python", *sys.argv])) as record:
        picture = None if settings.image is None else read_picture(settings.image)
        mesh = load_mesh(settings.mesh, up_axis=None if settings.up_axis == "auto" else settings.up_axis)
        # Torch takes seconds to import: a picture or a mesh that cannot be used is refused before.
        from gs_integration.pipelines.texture_mesh import texture_mesh

        record.progress.stage("checkpoint", None)
        result = texture_mesh(mesh, picture, settings, load_model(settings, record), record.progress)
        result.save(settings.output_dir, record)
    say_result(result)
    say(f"wrote {settings.output_dir}")


def load_model(settings: TextureMesh, record: "RunRecord") -> "ViewGenerator | TextToImage":
    """Return the model that the settings name, and put it on record."""
    from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
    from gs_integration.pipelines.devices import torch_device
    from gs_integration.pipelines.report import file_sha256
    from gs_integration.pipelines.texture_models import prompted_model

    name, device = settings.generator.checkpoint, torch_device(settings.generator.device)
    if not settings.prompted.text.prompt:
        file = find_checkpoint(name)
        record.checkpoint = {"name": name, "sha256": file_sha256(file)}
        return load_generator(file, device)
    record.checkpoint = {"name": name}
    return prompted_model(settings, device)


def say_result(result: "TexturedResult") -> None:
    """Say what became of the picture, and how well the views agree."""
    if result.source is not None and result.outline_iou is not None:
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


if __name__ == "__main__":
    run(main, TextureMesh, description=__doc__)
