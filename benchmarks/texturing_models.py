"""The meshes that texturing is measured on, and the pictures that they are textured after."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.evaluation_models import evaluation_meshes, evaluation_names, render_pictures
from distill_core.cameras import orbit_camera

if TYPE_CHECKING:
    from distill_core.pictures.images import Picture
    from renderers.meshes import TexturedMesh

PICTURE_PX = 512
PICTURE_ELEVATION_DEGREES = 15.0
"""Of the camera that takes the picture of a textured mesh, from its front."""

_PICTURES: dict[str, tuple[str, Literal["y", "z"]]] = {
    "armadillo_16k.ply": ("toy_turtle.png", "y"),
    "armadillo_400k_draco.glb": ("toy_turtle.png", "y"),
    "aws_chair_d.glb": ("chair.png", "y"),
    "featuretype.stl": ("robot.jpg", "z"),
    "many_parts_50.glb": ("flower_pot_drawing.png", "y"),
    "spot_overlapping_uv.obj": ("horse.png", "y"),
    "spot_untextured.obj": ("horse.png", "y"),
    "stanford_bunny.ply": ("cat_statue.jpg", "y"),
    "suzanne_quads.obj": ("elephant.jpg", "y"),
    "suzanne_stacked_uv.obj": ("elephant.jpg", "y"),
    "teapot.obj": ("teapot_blue.png", "z"),
}
"""Meshes without a texture: the picture whose colours each gets, and the axis that points up as it is loaded."""


def validation_names(models: Path, limit: int) -> list[str]:
    """Name the first models of the validation split, by SHA-256 of the name.

    Args:
        models: the folder of packed models.
        limit: how many.

    Raises:
        UserError: no such folder.
    """
    from gs_integration.validation_views import first_by_hash
    from renderers.training.packed_models import PackedModels

    rows = PackedModels(models).rows(("val",))
    return [chosen.name for chosen in first_by_hash([Path(row.name) for row in rows], limit)]


def validation_mesh(models: Path, name: str) -> "TexturedMesh":
    """Load a packed model, in the unit ball with z up.

    Args:
        models: the folder of packed models.
        name: of the model.

    Raises:
        UserError: no such model.
    """
    from renderers.meshes import normalised
    from renderers.training.packed_models import PackedModels

    return normalised(PackedModels(models).load(name))


def front_picture(mesh: "TexturedMesh") -> "Picture":
    """Render a textured mesh from its front, with alpha.

    Args:
        mesh: in the unit ball with z up.
    """
    from distill_core.pictures.images import Picture
    from renderers.mesh_rendering import prepare

    camera = orbit_camera(0.0, PICTURE_ELEVATION_DEGREES, width=PICTURE_PX, height=PICTURE_PX)
    return Picture(render_pictures(prepare(mesh), [camera])[0], has_alpha=True)


MeshAndPicture = Callable[[], tuple["TexturedMesh", "Picture"]]
"""Loads a mesh, in the unit ball with z up, and the picture that it is textured after."""


def meshes_with_pictures(assets: Path, num_validation: int) -> Iterator[tuple[str, MeshAndPicture]]:
    """Name every mesh of the evaluation, texturing and validation folders, each with what loads it.

    A mesh that wears a texture comes with a picture of itself from the front, another one with a picture of something
    else.

    Args:
        assets: the folder of them all.
        num_validation: how many validation models.

    Raises:
        UserError: a folder that is not there.
    """
    for name in evaluation_names(assets / "eval"):
        yield f"eval/{name}", partial(_evaluation_model, assets / "eval", name)
    for file in _PICTURES:
        yield f"texturing/{file.partition('.')[0]}", partial(_bare_mesh, assets, file)
    for name in validation_names(assets / "models", num_validation):
        yield f"val/{name}", partial(_validation_model, assets / "models", name)


def _evaluation_model(folder: Path, name: str) -> tuple["TexturedMesh", "Picture"]:
    ((_, mesh),) = evaluation_meshes(folder, (name,))
    return mesh, front_picture(mesh)


def _validation_model(folder: Path, name: str) -> tuple["TexturedMesh", "Picture"]:
    mesh = validation_mesh(folder, name)
    return mesh, front_picture(mesh)


def _bare_mesh(assets: Path, file: str) -> tuple["TexturedMesh", "Picture"]:
    from distill_core.pictures.images import read_picture
    from renderers.meshes import load_mesh, normalised

    picture, up_axis = _PICTURES[file]
    mesh = normalised(load_mesh(assets / "texturing" / file, up_axis=up_axis))
    return mesh, read_picture(assets / "pictures" / picture)
