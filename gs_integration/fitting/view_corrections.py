"""What generated views get wrong in a smooth way, estimated while splats are fitted to them.

A view's target is corrected towards what the splats show: a gain and an offset a channel, and a smooth displacement.
The source view, which is a real picture, and views that agree need none of it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32
from scipy import ndimage

from distill_core.cameras import Camera
from gs_integration.fitting.view_correction_kernels import flow_equations, warp

_GAIN_RANGE = (0.7, 1.4)
_OFFSET_LIMIT = 0.2
_KEPT_GAIN = 0.8
_IDENTITY_STRENGTH = 1e-3
"""Pull towards gain 1 and offset 0, against the variance of the colours (0..1): views of one colour have no gain."""

_GRID_CELLS = 64
_WINDOW_CELLS = 6
"""Displacements are smooth over a tenth of the picture (25 pixels of 256): wider and narrower windows do alike."""

_KEPT_FLOW = 0.9
_FLOW_STEP = 0.5
_LARGEST_STEP = 1 / 256
_LARGEST_FLOW = 4 / 256
"""In sides of the picture. A generator that is further off is not wrong in a smooth way."""


class ViewCorrections:
    """The corrections of all views.

    Args:
        num_views: number of views.
        source_view: this one is never corrected.
        gains: whether to estimate gain and offset.
        flows: whether to estimate displacements.
    """

    def __init__(self, num_views: int, source_view: int | None, *, gains: bool, flows: bool) -> None:
        self._source_view = source_view
        self._correct_gains, self._correct_flows = gains, flows
        self.gains = np.ones((num_views, 3), np.float32)
        self.offsets = np.zeros((num_views, 3), np.float32)
        self._flows: dict[int, Float32[np.ndarray, "2 rows columns"]] = {}

    def forget(self, view: int) -> None:
        """Begin anew with a view, whose picture has become another.

        Args:
            view: index of the view.
        """
        self.gains[view], self.offsets[view] = 1, 0
        self._flows.pop(view, None)

    def target(self, view: int, truth: Float32[np.ndarray, "4 height width"]) -> Float32[np.ndarray, "4 height width"]:
        """Return the corrected premultiplied RGBA of a view; the given one where there is nothing to correct.

        Args:
            view: index of the view.
            truth: its picture, premultiplied RGBA, at any resolution.
        """
        if view == self._source_view or not (self._correct_gains or self._correct_flows):
            return truth
        return self._warped(view, truth, self.gains[view], self.offsets[view])

    def _warped(
        self,
        view: int,
        truth: Float32[np.ndarray, "4 height width"],
        gain: Float32[np.ndarray, "3"],
        offset: Float32[np.ndarray, "3"],
    ) -> Float32[np.ndarray, "4 height width"]:
        side = min(truth.shape[1:])
        flow = self._flows.get(view)
        flow_px = np.zeros((2, 1, 1), np.float32) if flow is None else flow * np.float32(side)
        warped = np.zeros_like(truth)
        warp(truth, flow_px, gain, offset, warped)
        return warped

    def update(
        self,
        view: int,
        truth: Float32[np.ndarray, "4 height width"],
        rendered: Float32[np.ndarray, "4 height width"],
        *,
        move: bool,
    ) -> None:
        """Bring the corrections of a view nearer to what the splats show.

        Args:
            view: index of the view.
            truth: its picture, premultiplied RGBA.
            rendered: the splats from the same camera, premultiplied RGBA.
            move: whether the displacement may change too.
        """
        if view == self._source_view:
            return
        if self._correct_gains:
            self._update_gain(view, truth, rendered)
        if self._correct_flows and move:
            self._update_flow(view, truth, rendered)

    def _update_gain(
        self, view: int, truth: Float32[np.ndarray, "4 height width"], rendered: Float32[np.ndarray, "4 height width"]
    ) -> None:
        identity = np.ones(3, np.float32), np.zeros(3, np.float32)
        moved = self._warped(view, truth, *identity)
        inside = (moved[3] > 0.5) & (rendered[3] > 0.5)
        if inside.sum() < 100:
            return
        seen, shown = moved[:3, inside].astype(np.float64), rendered[:3, inside].astype(np.float64)
        seen_mean, shown_mean = seen.mean(axis=1), shown.mean(axis=1)
        covariance = ((seen - seen_mean[:, None]) * (shown - shown_mean[:, None])).mean(axis=1)
        variance = ((shown - shown_mean[:, None]) ** 2).mean(axis=1)
        gain = np.clip((covariance + _IDENTITY_STRENGTH) / (variance + _IDENTITY_STRENGTH), *_GAIN_RANGE)
        offset = np.clip(seen_mean - gain * shown_mean, -_OFFSET_LIMIT, _OFFSET_LIMIT)
        self.gains[view] = _KEPT_GAIN * self.gains[view] + (1 - _KEPT_GAIN) * gain
        self.offsets[view] = _KEPT_GAIN * self.offsets[view] + (1 - _KEPT_GAIN) * offset

    def _update_flow(
        self, view: int, truth: Float32[np.ndarray, "4 height width"], rendered: Float32[np.ndarray, "4 height width"]
    ) -> None:
        height, width = truth.shape[1:]
        side = min(height, width)
        cells = (max(height * _GRID_CELLS // side, 1), max(width * _GRID_CELLS // side, 1))
        equations = flow_equations(self.target(view, truth), rendered, *cells)
        for _ in range(2):
            for axis in (1, 2):
                equations = np.asarray(ndimage.uniform_filter1d(equations, _WINDOW_CELLS, axis, mode="constant"))
        xx, xy, yy, x_difference, y_difference = equations
        # A weak pull to 0 where nothing has an edge.
        pull = np.float32(1e-3) * (side / _GRID_CELLS) ** 2 / side
        xx, yy = xx + pull, yy + pull
        determinant = xx * yy - xy * xy
        step = np.stack([yy * x_difference - xy * y_difference, xx * y_difference - xy * x_difference]) / determinant
        step /= side
        length = np.sqrt((step**2).sum(axis=0))
        step *= _FLOW_STEP * np.minimum(1, _LARGEST_STEP / np.maximum(length, 1e-9))
        flow = step if view not in self._flows else np.float32(_KEPT_FLOW) * self._flows[view] + step
        length = np.sqrt((flow**2).sum(axis=0))
        self._flows[view] = (flow * np.minimum(1, _LARGEST_FLOW / np.maximum(length, 1e-9))).astype(np.float32)

    def largest_flow(self) -> float:
        """Return the longest displacement of any view, in sides of the picture."""
        return max((float(np.sqrt((flow**2).sum(axis=0).max())) for flow in self._flows.values()), default=0.0)


def weights_by_angle(cameras: Sequence[Camera], source_view: int | None) -> Float[np.ndarray, " views"]:
    """Believe views near the real one more: the cosine of the angle to it, at least 0.3.

    Args:
        cameras: one a view, around the origin.
        source_view: the real one; all weigh alike if None.
    """
    if source_view is None:
        return np.ones(len(cameras))
    forward = np.stack([camera.forward for camera in cameras])
    return np.clip((forward * forward[source_view]).sum(axis=1), 0.3, 1.0)
