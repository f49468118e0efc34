"""The solid network: one picture in, occupancy along every pixel's ray out.

One shape for all views is what a view generator lacks most under little compute: shape is five sixths of the error
of a one-step view, and a solid predicted once serves every target.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distill_core.models.blocks import Trunk
from distill_core.models.settings import SolidNetworkSettings
from distill_core.rays import CameraTensors
from distill_core.solids import Solid


@dataclass(frozen=True)
class SolidPrediction:
    """What the network says of S pictures.

    Args:
        logits: [S, D, h, w] occupancy logits along the rays of the source, bins of equal depth.
        tokens: [S, T, C] features of the coarsest level, which the view generator attends to.
        elevation_degrees: [S] estimated elevation of the source camera.
    """

    logits: Float[Tensor, "sets bins height width"]
    tokens: Float[Tensor, "sets tokens features"]
    elevation_degrees: Float[Tensor, " sets"]


class SolidNetwork(nn.Module):
    """A U-Net over the source picture alone; it is not told the elevation, which it estimates."""

    def __init__(self, settings: SolidNetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.fold = nn.PixelUnshuffle(settings.patch_px)
        self.trunk = Trunk(
            4 * settings.patch_px**2 + 2,
            settings.widths,
            blocks=settings.blocks,
            middle_blocks=settings.middle_blocks,
            embedding=0,
            source_features=None,
        )
        self.head = nn.Sequential(
            nn.GroupNorm(8, settings.widths[0]),
            nn.SiLU(),
            nn.Conv2d(settings.widths[0], settings.bins * 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.elevation = nn.Sequential(nn.Linear(settings.widths[-1], 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, source: Float[Tensor, "sets 4 height width"]) -> SolidPrediction:
        """Predict the solid behind premultiplied RGBA pictures in -1..1."""
        folded = self.fold(source)
        rows = torch.linspace(-1, 1, folded.shape[2], device=source.device, dtype=source.dtype)
        columns = torch.linspace(-1, 1, folded.shape[3], device=source.device, dtype=source.dtype)
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(source), -1, -1, -1)
        fine, coarse = self.trunk(torch.cat([folded, place], 1), None, 1, None)
        vector = self.elevation(coarse.float().mean((2, 3)).to(coarse.dtype)).float()
        elevation = torch.atan2(vector[:, 0], vector[:, 1].abs() + 1e-3) * (180 / math.pi)
        return SolidPrediction(self.head(fine).float(), coarse.flatten(2).transpose(1, 2), elevation)


_SUREST_FLOOR = 1e-3
_HIT_EXPONENT = 0.7
"""How far the largest occupancy on a source ray is raised towards 1. Every ray inside the silhouette does hit the
object; where its depth is uncertain the network spreads the occupancy thin, and the largest one, which is what masks
show, says too little. On 20 held-out objects the masks of views 1-15 go from IoU 0.655 to 0.729; above 0.8 the mean
squared error of the masks rises again."""


def solid_of(
    prediction: SolidPrediction, source: Float[Tensor, "sets 4 height width"], cameras: CameraTensors
) -> Solid:
    """The solid of a prediction: occupancy inside the source's silhouette, nothing outside.

    The occupancy of each ray is divided by a power of its largest value, see `_HIT_EXPONENT`.

    Args:
        prediction: Of the same S pictures.
        source: [S, 4, H, W] premultiplied RGBA in -1..1.
        cameras: S source cameras.

    Returns:
        Probabilities in the frusta of the cameras.
    """
    height, width = prediction.logits.shape[2:]
    silhouette = nn.functional.interpolate(source[:, 3:] * 0.5 + 0.5, (height, width), mode="area")
    occupancy = prediction.logits.sigmoid()
    surest = occupancy.amax(1, keepdim=True).clamp(min=_SUREST_FLOOR)
    occupancy = occupancy / surest**_HIT_EXPONENT * silhouette
    return Solid(occupancy, cameras.resized(width, height))
