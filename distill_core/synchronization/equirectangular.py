"""A 360-degree panorama from perspective views: equirectangular canvas <-> pictures of cameras at its centre.

The canvas has longitude along its width, 0 in the middle and growing to the right, and latitude along its height, 90
degrees at the top. Pixel centres: column u = (longitude / 2 pi + 1/2) W - 1/2 modulo W, row v = (1/2 - latitude / pi)
H - 1/2. In the world (z up) longitude 0 is +x, and the right of somebody who looks there is -y.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distill_core.cameras import Camera, focal_length_px, look_at
from distill_core.synchronization.noise_warping import gather_noise, refine_noise
from distill_core.synchronization.projections import Votes

# Votes fade towards a view's border, where another view sees the same from nearer its middle; never to nothing.
_FAINTEST_VOTE = 1e-3
_FINEST_NOISE = 16


class _Lookup(NamedTuple):
    """Linear interpolation: result r is the sum over four taps of weights times values at indices."""

    indices: Tensor
    weights: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Look values [C, N] up: [C, results]."""
        taps = self.indices.to(values.device)
        return sum(weight.to(values) * values[:, tap] for tap, weight in zip(taps, self.weights, strict=True))  # type: ignore[return-value]


class EquirectangularProjection:
    """Views of a panorama.

    Both directions interpolate linearly: a view's pixel between four pixels of the canvas, and a canvas pixel between
    four of every view that sees its centre. A round trip is exact for constants and of second order for smooth
    pictures. Noise comes through its footprint (`noise_warping`).

    Args:
        channels: C.
        height: of the canvas; its width is twice that.
        cameras: of one picture size, all at the origin.

    Raises:
        ValueError: no cameras, several picture sizes, or views so fine that the canvas is no use.
    """

    def __init__(self, channels: int, height: int, cameras: Sequence[Camera]) -> None:
        sizes = {(camera.height, camera.width) for camera in cameras}
        if len(sizes) != 1:
            raise ValueError(f"expected cameras of one picture size, got {sorted(sizes)}")
        view_height, view_width = sizes.pop()
        self.canonical_shape = (channels, height, 2 * height)
        self.instances_shape = (len(cameras), channels, view_height, view_width)
        self._views = _canvas_lookup(cameras, height)
        self._seen, self._canvas, self._votes = _view_lookup(cameras, height)
        self._noise_factor, self._footprint_elements, self._footprint_pixels = _footprints(cameras, height)

    def project(self, canonical: Float[Tensor, "channels height width"]) -> Float[Tensor, "views channels h w"]:
        """Return the views of a panorama."""
        views, channels, height, width = self.instances_shape
        flat = self._views.of(canonical.flatten(1))
        return flat.reshape(channels, views, height, width).transpose(0, 1)

    def unproject(self, instances: Float[Tensor, "views channels h w"]) -> Votes:
        """Return what the views say of every canvas pixel."""
        channels, height, width = self.canonical_shape
        seen, votes = self._seen.to(instances.device), self._votes.to(instances)
        values = self._canvas.of(instances.transpose(0, 1).flatten(1)) * votes
        weighted = instances.new_zeros(channels, height * width).index_add_(1, seen, values)
        # Interpolating independent noise between pixels has taken variance too.
        kept = votes.square() * self._canvas.weights.to(instances).square().sum(dim=0)
        sums = instances.new_zeros(2, height * width).index_add_(1, seen, torch.stack([votes, kept]))
        return Votes(weighted.reshape(self.canonical_shape), *sums.reshape(2, 1, height, width))

    def canonical_noise(self, generator: torch.Generator) -> Float[Tensor, "channels height width"]:
        """Return standard normal noise of the canvas."""
        return torch.randn(self.canonical_shape, generator=generator, device=generator.device)

    def initial_noise(self, generator: torch.Generator) -> Float[Tensor, "views channels h w"]:
        """Return standard normal noise of the views, white in each and the same where footprints are the same."""
        views, channels, height, width = self.instances_shape
        fine = refine_noise(self.canonical_noise(generator), self._noise_factor, generator).flatten(1)
        elements, pixels = (index.to(fine.device) for index in (self._footprint_elements, self._footprint_pixels))
        noise = gather_noise(fine, elements, pixels, views * height * width)
        return noise.reshape(channels, views, height, width).transpose(0, 1)


def panorama_cameras(
    directions_degrees: Sequence[tuple[float, float]], *, side: int, field_of_view_degrees: float
) -> list[Camera]:
    """Return cameras at the origin, of square pictures.

    Args:
        directions_degrees: longitude and latitude of where each looks; latitudes of 90 and -90 are up and down.
        side: of the pictures in pixels.
        field_of_view_degrees: of the pictures' width.
    """
    focal = focal_length_px(field_of_view_degrees, side)
    cameras = []
    for longitude, latitude in directions_degrees:
        # Straight up there is no way up in the picture: it then lies where the longitude says.
        steep = abs(latitude) > 89.9
        back = -np.sign(latitude) * direction(np.radians(longitude), 0.0)
        up = back if steep else np.array([0.0, 0.0, 1.0])
        pose = look_at(np.zeros(3), direction(np.radians(longitude), np.radians(latitude)), up)
        cameras.append(Camera(side, side, focal, focal, side / 2, side / 2, pose))
    return cameras


def rings_of_directions(
    counts: Sequence[int], latitudes_degrees: Sequence[float], *, poles: bool = True
) -> list[tuple[float, float]]:
    """Return directions on circles of latitude, evenly spread, and the poles.

    Args:
        counts: directions of each circle, at least 1.
        latitudes_degrees: of each circle.
        poles: whether to look straight up and down, too.
    """
    around = [
        (360.0 * place / count - 180.0, latitude)
        for count, latitude in zip(counts, latitudes_degrees, strict=True)
        for place in range(count)
    ]
    return around + ([(0.0, 90.0), (0.0, -90.0)] if poles else [])


def direction(
    longitude: Float[np.ndarray, "*shape"] | float, latitude: Float[np.ndarray, "*shape"] | float
) -> Float[np.ndarray, "*shape 3"]:
    """Return unit vectors of the world (z up) at angles in radians."""
    cosine = np.cos(latitude)
    return np.stack([cosine * np.cos(longitude), -cosine * np.sin(longitude), np.sin(latitude) + 0 * longitude], -1)


def _canvas_directions(height: int) -> np.ndarray:
    """[2 height^2, 3] directions of the centres of a canvas' pixels."""
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(2 * height) + 0.5) / (2 * height)
    latitude, longitude = np.meshgrid((0.5 - rows) * np.pi, (columns - 0.5) * 2 * np.pi, indexing="ij")
    return direction(longitude, latitude).reshape(-1, 3)


def _canvas_lookup(cameras: Sequence[Camera], height: int) -> _Lookup:
    """Where the pixels of all views lie on the canvas."""
    rows, columns = np.mgrid[: cameras[0].height, : cameras[0].width] + 0.5
    pixels = np.stack([columns, rows], -1).reshape(-1, 2)
    rays = np.concatenate([camera.unproject(pixels, np.ones(len(pixels))) for camera in cameras])
    longitude = np.arctan2(-rays[:, 1], rays[:, 0])
    latitude = np.arcsin(rays[:, 2] / np.linalg.norm(rays, axis=1))
    width = 2 * height
    column = ((longitude / (2 * np.pi) + 0.5) * width - 0.5) % width
    # Above the centre of the topmost row there is no other row: its value goes on to the pole.
    row = np.clip((0.5 - latitude / np.pi) * height - 0.5, 0, height - 1)
    return _linear(row, column, height, width, wraps=True)


def _view_lookup(cameras: Sequence[Camera], height: int) -> tuple[Tensor, _Lookup, Tensor]:
    """For every view and canvas pixel in it: the canvas pixel, where it lies among the views' pixels, its weight."""
    directions = _canvas_directions(height)
    side_height, side_width = cameras[0].height, cameras[0].width
    seen, lookups, votes = [], [], []
    for view, camera in enumerate(cameras):
        inside, positions = _inside(camera, directions)
        seen.append(inside)
        row, column = (
            np.clip(positions[:, axis] - 0.5, 0, side - 1) for axis, side in ((1, side_height), (0, side_width))
        )
        indices, weights = _linear(row, column, side_height, side_width, wraps=False)
        lookups.append(_Lookup(indices + view * side_height * side_width, weights))
        fading = 1 - np.abs(2 * positions / (side_width, side_height) - 1)
        votes.append(np.maximum(fading.prod(axis=1), _FAINTEST_VOTE))
    joined = _Lookup(*(torch.cat(parts, dim=1) for parts in zip(*lookups, strict=True)))
    return torch.from_numpy(np.concatenate(seen)), joined, torch.from_numpy(np.concatenate(votes))


def _inside(camera: Camera, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which directions a camera at the origin sees, and where in its picture."""
    positions, _ = camera.project(directions)
    # Behind the camera there are NaN, for which no comparison holds.
    inside = np.flatnonzero(((positions > 0) & (positions < (camera.width, camera.height))).all(axis=1))
    return inside, positions[inside]


def _footprints(cameras: Sequence[Camera], height: int) -> tuple[int, Tensor, Tensor]:
    """Refine the canvas until every pixel of every view has fine noise under it; who has which."""
    pixels_a_view = cameras[0].height * cameras[0].width
    for factor in range(1, _FINEST_NOISE + 1):
        directions = _canvas_directions(height * factor)
        elements, owners = [], []
        for view, camera in enumerate(cameras):
            inside, positions = _inside(camera, directions)
            elements.append(inside)
            owners.append(
                view * pixels_a_view + positions[:, 1].astype(int) * camera.width + positions[:, 0].astype(int)
            )
        pixels = torch.from_numpy(np.concatenate(owners))
        if bool((torch.bincount(pixels, minlength=len(cameras) * pixels_a_view) > 0).all()):
            return factor, torch.from_numpy(np.concatenate(elements)), pixels
    raise ValueError(
        f"expected a canvas of about the views' resolution, got one of height {height} for views of "
        f"{cameras[0].width} x {cameras[0].height} pixels"
    )


def _linear(row: np.ndarray, column: np.ndarray, height: int, width: int, *, wraps: bool) -> _Lookup:
    """Linear interpolation at positions in pixel centres, [4, positions]."""
    top, left = np.floor(row), np.floor(column)
    down, right = row - top, column - left
    bottom, beyond = np.minimum(top + 1, height - 1), left + 1
    beyond = beyond % width if wraps else np.minimum(beyond, width - 1)
    indices = [top * width + left, top * width + beyond, bottom * width + left, bottom * width + beyond]
    weights = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    return _Lookup(torch.from_numpy(np.stack(indices)).long(), torch.from_numpy(np.stack(weights)))
