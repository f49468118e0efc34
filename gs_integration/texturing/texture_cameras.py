"""Where to look at a mesh from, so that its texture is seen."""

from pathlib import Path

import numpy as np

from distill_core.camera_rigs import fibonacci_rig
from distill_core.cameras import Camera, orbit_camera, orbit_rig
from distill_core.errors import UserError
from distill_core.progress import SilentProgress
from distill_core.records.lens_distortion import undistorted_camera
from distill_core.records.transforms_files import stated_views
from gs_integration.texturing.texture_views import seen_texels
from renderers.mesh_rendering import prepare
from renderers.meshes import TexturedMesh
from renderers.texture_space.texel_surface import TexelSurface, texel_surface

_CANDIDATES = 80
_CANDIDATE_PX = 96
_CANDIDATE_TEXELS = 160
RING_ELEVATION_DEGREES = 15.0
"""Of cameras around the object, above the horizontal plane."""
_STRAIGHT_ENOUGH = 0.5
"""Cosine from which on a texel counts as seen wholly."""
_ASPECT_TOLERANCE = 0.01


def ring_and_poles_cameras(
    num_views: int,
    *,
    width: int,
    height: int,
    elevation_degrees: float = RING_ELEVATION_DEGREES,
    start_azimuth_degrees: float = 0.0,
    field_of_view_degrees: float = 40.0,
) -> list[Camera]:
    """A ring, then one camera straight above and one straight below, in all `num_views`.

    Args:
        num_views: at least 3.
        width: of the pictures in pixels.
        height: of the pictures in pixels.
        elevation_degrees: of the ring.
        start_azimuth_degrees: of the first camera; the upper edge of the pole's pictures points away from it or to it.
        field_of_view_degrees: along the smaller side.

    Raises:
        UserError: fewer than three views.
    """
    if num_views < 3:
        raise UserError(
            f"Ring, top and bottom: expected at least 3 views, got {num_views}; ask for more or a plain ring."
        )
    ring = orbit_rig(
        num_views - 2,
        width=width,
        height=height,
        elevations_degrees=(elevation_degrees,),
        start_azimuth_degrees=start_azimuth_degrees,
        field_of_view_degrees=field_of_view_degrees,
    )
    poles = [
        orbit_camera(
            start_azimuth_degrees, pole_degrees, field_of_view_degrees=field_of_view_degrees, width=width, height=height
        )
        for pole_degrees in (90.0, -90.0)
    ]
    return [*ring, *poles]


def automatic_cameras(
    mesh: TexturedMesh,
    num_views: int,
    *,
    width: int,
    height: int,
    elevation_degrees: float = RING_ELEVATION_DEGREES,
    start_azimuth_degrees: float = 0.0,
    field_of_view_degrees: float = 40.0,
) -> list[Camera]:
    """Cameras chosen one after another, each the one that newly sees the largest part of the surface.

    The first is given, as the one from which a reference picture was taken. A place counts as seen in proportion to the
    cosine of its slant, wholly from 60 degrees on; what is left over goes to straighter views (the greedy choice is
    within 1 - 1/e of the best set, Nemhauser et al. 1978).

    Args:
        mesh: in the unit ball, with texture coordinates that do not overlap.
        num_views: 1 to 81.
        width: of the pictures in pixels.
        height: of the pictures in pixels.
        elevation_degrees: of the first camera.
        start_azimuth_degrees: of the first camera.
        field_of_view_degrees: along the smaller side.

    Raises:
        UserError: a number of views out of range.
    """
    if not 1 <= num_views <= _CANDIDATES + 1:
        raise UserError(f"Automatic views: expected 1 to {_CANDIDATES + 1}, got {num_views}.")
    first = orbit_camera(
        start_azimuth_degrees,
        elevation_degrees,
        field_of_view_degrees=field_of_view_degrees,
        width=_CANDIDATE_PX,
        height=_CANDIDATE_PX,
    )
    others = fibonacci_rig(
        _CANDIDATES, field_of_view_degrees=field_of_view_degrees, width=_CANDIDATE_PX, height=_CANDIDATE_PX
    )
    candidates = [first, *others]
    surface = texel_surface(mesh, _CANDIDATE_TEXELS)
    cosines = _cosines(mesh, surface, candidates)
    areas = texel_areas(mesh, surface)
    worth = np.minimum(cosines / _STRAIGHT_ENOUGH, 1) + 1e-3 * cosines
    chosen = [0]
    best = worth[:, 0].copy()
    while len(chosen) < num_views:
        gains = areas @ np.maximum(worth - best[:, None], 0)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, worth[:, chosen[-1]])
    lens = orbit_camera(0, 0, field_of_view_degrees=field_of_view_degrees, width=width, height=height)
    return [lens.moved(candidates[number].camera_to_world) for number in chosen]


def _cosines(mesh: TexturedMesh, surface: TexelSurface, cameras: list[Camera]) -> np.ndarray:
    """Cosine [texels, cameras] under which each camera sees a texel, 0 where it does not."""
    seen = seen_texels(prepare(mesh), surface, surface, cameras, SilentProgress())
    num_pixels = cameras[0].width * cameras[0].height
    weights, cosines = seen.weights[surface.texels].tocsc(), seen.cosines[surface.texels].tocsc()
    found = np.zeros((len(surface.texels), len(cameras)))
    for view in range(len(cameras)):
        pixels = slice(view * num_pixels, (view + 1) * num_pixels)
        total = np.asarray(weights[:, pixels].sum(axis=1)).ravel()
        found[:, view] = np.asarray(cosines[:, pixels].sum(axis=1)).ravel() / np.maximum(total, 1e-30)
    return found


def texel_areas(mesh: TexturedMesh, surface: TexelSurface) -> np.ndarray:
    """The area of the surface that each texel stands for, [N] in units of the mesh.

    Args:
        mesh: the mesh.
        surface: its N texels.
    """
    corners = mesh.vertices[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    owners = surface.owner.ravel()[surface.texels]
    return areas[owners] / np.bincount(owners, minlength=len(areas))[owners]


def cameras_from_file(path: Path, *, width: int, height: int) -> list[Camera]:
    """The cameras of a `transforms.json`, for pictures of another size.

    They stand in the world of the unit ball, as those do that the project writes; pictures are not looked for. A lens
    with distortion becomes the pinhole camera of the undistorted picture.

    Args:
        path: the file, or a folder with a transforms.json.
        width: of the pictures in pixels.
        height: of the pictures in pixels.

    Raises:
        UserError: no such file, a damaged one, or pictures of another shape than width x height.
    """
    file = path / "transforms.json" if path.is_dir() else path
    views, _ = stated_views(file)
    cameras = []
    for view in views:
        stated = view.stated_size or (width, height)
        if abs(stated[0] * height / (stated[1] * width) - 1) > _ASPECT_TOLERANCE:
            raise UserError(
                f"{file}: expected cameras for pictures shaped like {width} x {height}, got {stated[0]} x {stated[1]} "
                f"({view.label}); choose a resolution of that shape."
            )
        camera = view.camera_at(*stated)
        if view.distortion is not None and not view.distortion.is_zero:
            camera = undistorted_camera(camera, view.distortion)
        cameras.append(camera.resized(width, height))
    return cameras
