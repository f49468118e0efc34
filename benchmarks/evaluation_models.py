"""The well-known textured models that nothing was trained on, rendered."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distill_core.cameras import Camera
from distill_core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from renderers.mesh_rendering import RenderableMesh
    from renderers.meshes import TexturedMesh


def evaluation_meshes(folder: Path, names: Sequence[str] | None = None) -> Iterator[tuple[str, "TexturedMesh"]]:
    """Load the models of a folder's INDEX.csv one after another, in the unit ball with z up.

    Args:
        folder: the evaluation models; INDEX.csv has the columns "file" and "up axis as loaded".
        names: which, as this function names them; all, if not given.

    Raises:
        UserError: no such folder, or no model of a name.
    """
    from renderers.meshes import load_mesh, normalised

    rows = _index(folder)
    unknown = sorted(set(names or ()) - set(rows))
    if unknown:
        raise UserError(f"Expected models among {', '.join(rows)}, got {unknown[0]}.")
    up_axes: dict[str, Literal["y", "z"]] = {"Y": "y", "Z": "z"}
    for name in rows if names is None else names:
        yield name, normalised(load_mesh(folder / rows[name]["file"], up_axis=up_axes[rows[name]["up axis as loaded"]]))


def evaluation_names(folder: Path) -> list[str]:
    """Name the models of a folder's INDEX.csv.

    Args:
        folder: the evaluation models.

    Raises:
        UserError: no such folder.
    """
    return list(_index(folder))


def _index(folder: Path) -> dict[str, dict[str, str]]:
    index = folder / "INDEX.csv"
    if not index.is_file():
        raise UserError(f"Expected the evaluation models in {folder}, but {index} is not there; name their folder.")
    with index.open(newline="") as stream:
        return {_name(folder / row["file"], folder): row for row in csv.DictReader(stream)}


def _name(file: Path, folder: Path) -> str:
    return f"{file.parent.name}_{file.stem}" if file.parent != folder else file.stem


def evaluation_models(folder: Path, limit: int | None = None) -> Iterator[tuple[str, "RenderableMesh"]]:
    """The models of `evaluation_meshes`, made ready for rendering.

    Args:
        folder: the evaluation models.
        limit: how many at most.

    Raises:
        UserError: no such folder.
    """
    from renderers.mesh_rendering import prepare

    for name, mesh in islice(evaluation_meshes(folder), limit):
        yield name, prepare(mesh)


def render_pictures(mesh: "RenderableMesh", cameras: Sequence[Camera]) -> "np.ndarray":
    """Render the bare base colour, supersampled.

    Args:
        mesh: in the unit ball.
        cameras: V cameras of one picture size.

    Returns:
        [V, 4, H, W] straight RGBA.
    """
    from renderers.mesh_rendering import render_views

    return render_views(mesh, cameras, supersampling=2, with_normals=False).colour
