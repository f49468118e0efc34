"""Texture coordinates that texturing can use: one place on the surface for each texel."""

import logging
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from distill_core.errors import UserError
from distill_core.progress import Progress, SilentProgress
from renderers.mesh_repair import repaired
from renderers.meshes import TexturedMesh, normalised
from renderers.normals import merged_positions
from renderers.texture_space.texel_surface import claim_texels
from renderers.texture_space.unwrapping_worker import USER_ERROR_STATUS

_LOG = logging.getLogger(__name__)

XATLAS_MAX_FACES = 50_000
"""Above this, xatlas takes minutes; charts are cut by direction instead."""
PADDING_TEXELS = 4

_REPOSITORY = Path(__file__).resolve().parents[2]
_LAYOUT_TEXELS = 1024
_CONTESTED_SHARE = 0.005  # rounding along charts that touch contests less
_OUTSIDE = 1e-4  # of the texture's side; rounding of exporters
_FLAT_UV_AREA = 1e-12
_FLAT_SHARE = 0.001
_POLL_SECONDS = 0.1
_WHITE = np.full((1, 1, 4), 255, np.uint8)

Method = Literal["kept", "xatlas", "directions"]


@dataclass(frozen=True)
class UnwrappedMesh:
    """A mesh whose texture coordinates lie in 0..1 and own their texels alone.

    Attributes:
        mesh: repaired; with new coordinates it wears no picture and no corner colours.
        method: how the coordinates came about.
        reason: why, in words.
        seconds: what unwrapping took.
    """

    mesh: TexturedMesh
    method: Method
    reason: str
    seconds: float


def ready_for_texturing(
    mesh: TexturedMesh, *, texture_size: int = 1024, progress: Progress | None = None
) -> UnwrappedMesh:
    """Repair a mesh, and unwrap it where its texture coordinates do not serve.

    Up to 50,000 faces are unwrapped by xatlas, larger meshes by charts of one direction; both in a process of their
    own, which a cancelled job ends at once. What was done, and why, is logged in one line.

    Args:
        mesh: any size and place; keeps them.
        texture_size: texels along a side for which gaps between charts are kept.
        progress: hears of the stage "unwrapping", and may cancel it.

    Raises:
        UserError: a texture size that is not 16 to 8192, a mesh without area, or one that falls into more charts than
            the texture holds.
        Cancelled: the caller asked to stop.
    """
    if not 16 <= texture_size <= 8192:
        raise UserError(f"Texture size: expected 16 to 8192 texels along a side, got {texture_size}.")
    progress = progress or SilentProgress()
    progress.stage("unwrapping", None)
    sound = repaired(mesh)
    inside = _within_unit_tile(sound)
    fault = layout_fault(inside)
    if fault is None:
        return UnwrappedMesh(inside, "kept", "its texture coordinates serve", 0.0)
    begun = time.monotonic()
    method: Method = "xatlas" if len(sound.faces) <= XATLAS_MAX_FACES else "directions"
    corner_uvs = _unwrap_in_child(sound, method, texture_size, progress)
    seconds = time.monotonic() - begun
    _LOG.info("%s: unwrapped %s in %.0f s, since %s.", mesh.name, _HOW[method], seconds, fault)
    return UnwrappedMesh(with_new_coordinates(sound, corner_uvs), method, fault, seconds)


_HOW = {
    "xatlas": "by xatlas",
    "directions": f"into charts of one direction each (xatlas takes minutes above {XATLAS_MAX_FACES:,} faces)",
}


def with_new_coordinates(mesh: TexturedMesh, corner_uvs: np.ndarray) -> TexturedMesh:
    """The mesh, white, with texture coordinates [F, 3, 2] of its own for a picture that is still to come."""
    return replace(
        mesh,
        corner_uvs=np.ascontiguousarray(np.clip(corner_uvs, 0, 1), dtype=np.float32),
        base_colours=(_WHITE,),
        face_picture=np.zeros(len(mesh.faces), np.int64),
        corner_colours=None,
    )


def layout_fault(mesh: TexturedMesh) -> str | None:
    """What keeps a mesh's texture coordinates from holding one texture, as part of a sentence, or None.

    Several pictures share coordinates and count as overlaps, since one texture shall take their place.

    Args:
        mesh: with faces of whole tiles moved to 0..1.
    """
    uvs = mesh.corner_uvs.astype(np.float64)
    to_1, to_2 = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    uv_areas = np.abs(to_1[:, 0] * to_2[:, 1] - to_2[:, 0] * to_1[:, 1]) / 2
    flat = uv_areas < _FLAT_UV_AREA
    if flat.all():
        return "it has no texture coordinates"
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    flat_share = float(areas[flat].sum() / areas.sum())
    if flat_share > _FLAT_SHARE:
        return f"{100 * flat_share:.1f}% of its surface has no texture coordinates"
    if uvs.min() < -_OUTSIDE or uvs.max() > 1 + _OUTSIDE:
        return "its texture coordinates cross the edge of the texture"
    if uv_areas.sum() > 1 + _CONTESTED_SHARE:
        return f"its faces would cover the texture {uv_areas.sum():.1f} times"
    contested = claim_texels(mesh.corner_uvs, _LAYOUT_TEXELS).contested_share
    if contested > _CONTESTED_SHARE:
        return f"{100 * contested:.1f}% of its texels belong to several places of the surface"
    return None


def _within_unit_tile(mesh: TexturedMesh) -> TexturedMesh:
    """The mesh with faces that lie in another tile of the repeating texture moved to the first."""
    tiles = np.floor(mesh.corner_uvs.mean(axis=1, keepdims=True))
    if not tiles.any():
        return mesh
    return replace(mesh, corner_uvs=(mesh.corner_uvs - tiles).astype(np.float32))


def _unwrap_in_child(mesh: TexturedMesh, method: str, texture_size: int, progress: Progress) -> np.ndarray:
    unit = normalised(mesh)
    with tempfile.TemporaryDirectory(prefix="unwrapping-") as name:
        folder = Path(name)
        merged = merged_positions(unit.vertices)
        used, faces = np.unique(merged[unit.faces], return_inverse=True)
        np.save(folder / "vertices.npy", unit.vertices[used])
        np.save(folder / "faces.npy", faces.reshape(-1, 3).astype(np.int64))
        # -P: nothing is imported from the folder that the program was started in.
        command = [sys.executable, "-P", "-m", "renderers.texture_space.unwrapping_worker", name, method]
        command += [str(texture_size), str(PADDING_TEXELS)]
        python_path = os.pathsep.join(part for part in (str(_REPOSITORY), os.environ.get("PYTHONPATH")) if part)
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": python_path},
            )
            try:
                while child.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    progress.advance(0)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
        if child.returncode == 0:
            return np.load(folder / "corner_uvs.npy")
        said = (folder / "log").read_text(errors="replace").strip()
        if child.returncode == USER_ERROR_STATUS:
            raise UserError(f"{mesh.name}: {said}")
        raise RuntimeError(f"{mesh.name}: unwrapping ended with status {child.returncode}: {said[-2000:]}")
