"""The view network: noisy views and their condition in, clean views out; a Denoiser and a consistency function.

clean = skip x + (1 - skip) [gate guide + (1 - gate) prediction], with `skip` the boundary scaling that is exactly 1
at time 0. Pixels that the guide knows are copied through the gate rather than regenerated, which keeps their detail;
where the guide is wrong the gate closes. Colour and alpha have gates of their own, and colour is blended before alpha
multiplies it: a mask that is unsure of its edge does not fade the colours inside.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distill_core.diffusion.parameterizations import boundary_scalings
from distill_core.diffusion.schedules import VarianceExploding, noise_ratio, per_sample
from distill_core.guide import Guide
from distill_core.models.blocks import Trunk, fourier_features
from distill_core.models.condition import ViewCondition
from distill_core.models.settings import ViewNetworkSettings
from distill_core.rays import CameraTensors, pluecker_rays

_GUIDE_CHANNELS = 10
_FINE_INPUTS = 10
"""Guide colour 3, mask, seen, thickness, noisy view 4."""
_FINE_OUTPUTS = 6
"""Straight RGBA, gate of colour, gate of alpha."""
_POSE_OCTAVES = 4


class ViewNetwork(nn.Module):
    """A U-Net on patches with attention over the set, and a thin path at full resolution."""

    def __init__(self, settings: ViewNetworkSettings, *, source_features: int) -> None:
        super().__init__()
        self.settings = settings
        self.schedule = VarianceExploding()
        width = settings.widths[0]
        self.fold = nn.PixelUnshuffle(settings.patch_px)
        self.entry = nn.Conv2d((4 + _GUIDE_CHANNELS) * settings.patch_px**2 + 6, width, 1)
        features = 2 * _POSE_OCTAVES * 5 + 4
        self.embedding = nn.Sequential(
            nn.Linear(features, settings.embedding),
            nn.SiLU(),
            nn.Linear(settings.embedding, settings.embedding),
            nn.SiLU(),
        )
        self.trunk = Trunk(
            width,
            settings.widths,
            blocks=settings.blocks,
            middle_blocks=settings.middle_blocks,
            embedding=settings.embedding,
            source_features=source_features,
        )
        # The thin path works on squares of 2 x 2 pixels: convolutions of few channels at full size waste a processor.
        half = settings.patch_px // 2
        self.unfold = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, settings.fine_channels * half**2, 1),
            nn.PixelShuffle(half),
        )
        self.fold_fine = nn.PixelUnshuffle(2)
        last = nn.Conv2d(32, 4 * _FINE_OUTPUTS, 3, padding=1)
        self.fine = nn.Sequential(
            nn.Conv2d(settings.fine_channels + 4 * _FINE_INPUTS, 32, 3, padding=1), nn.SiLU(), last, nn.PixelShuffle(2)
        )
        # Gates begin mostly open; PixelShuffle takes four channels for each that it returns.
        last.bias = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0]).repeat_interleave(4))

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of a view."""
        return 4, self.settings.resolution_px, self.settings.resolution_px

    def forward(
        self, noisy: Float[Tensor, "batch 4 height width"], time: Float[Tensor, " batch"], condition: ViewCondition
    ) -> Float[Tensor, "batch 4 height width"]:
        """The clean prediction of views at `time`: premultiplied RGBA in -1..1."""
        scale = boundary_scalings(self.schedule, time, self.settings.sigma_data).input
        skip = boundary_scalings(self.schedule, time, self.settings.sigma_skip).skip
        # Unit variance would pour noise of full strength into a network that must learn to ignore it at time 1; damped
        # by the share that is signal, the noisy view fades out as it stops saying anything.
        damped = per_sample(scale.square() * self.schedule.alpha(time) * self.settings.sigma_data, noisy) * noisy
        guide = condition.guide
        folded = self.fold(torch.cat([damped, guide.channels()], 1))
        patches = (folded.shape[3], folded.shape[2])
        # Geometry stays in float32, whatever the network's precision.
        with torch.autocast(noisy.device.type, enabled=False):
            rays = _rays_seen_from_source(condition, *patches)
        embedding = self.embedding(self._features(time, condition))
        tokens = condition.source_tokens * condition.source_present[:, None, None]
        hidden, _ = self.trunk(self.entry(torch.cat([folded, rays], 1)), embedding, condition.views_per_set, tokens)
        detail = self.fold_fine(torch.cat([guide.colour, guide.mask, guide.seen, guide.thickness, damped], 1))
        fine = self.fine(torch.cat([self.unfold(hidden), detail], 1)).float()
        blended = _gated(fine[:, :4], fine[:, 4:].sigmoid(), guide)
        keep = per_sample(skip, noisy)
        return keep * noisy + (1 - keep) * blended

    def _features(self, time: Tensor, condition: ViewCondition) -> Tensor:
        """Time, both elevations, relative azimuth and what is present, as [B, features]."""
        sets = condition.sets
        log_ratio = noise_ratio(self.schedule, time).clamp(min=1e-4).log() / math.log(80.0)
        source, target = condition.source_cameras.positions[sets], condition.target_cameras.positions
        azimuth = torch.atan2(target[:, 0], -target[:, 1]) - torch.atan2(source[:, 0], -source[:, 1])
        heights = [position[:, 2] / position.norm(dim=1) for position in (source, target)]
        # Octave features of sines and cosines would repeat; azimuth enters by its own sine and cosine.
        values = torch.stack([log_ratio, azimuth.sin(), azimuth.cos(), *heights], 1)
        present = torch.cat([condition.guide.present, condition.source_present[sets][:, None]], 1)
        return torch.cat([fourier_features(values * 0.5, _POSE_OCTAVES), present], 1)


def _gated(prediction: Tensor, gates: Tensor, guide: Guide) -> Tensor:
    """Premultiplied blend [B, 4, H, W] of guide and straight prediction; gates are shut where their part is absent."""
    colour_known = guide.present[:, 0] * guide.present[:, 1]
    colour_gate = gates[:, :1] * per_sample(colour_known, gates)
    alpha_gate = gates[:, 1:] * per_sample(guide.present[:, 1], gates)
    straight = prediction * 0.5 + 0.5
    colour = colour_gate * guide.colour + (1 - colour_gate) * straight[:, :3]
    alpha = alpha_gate * guide.mask + (1 - alpha_gate) * straight[:, 3:]
    return torch.cat([colour * alpha, alpha], 1) * 2 - 1


def _rays_seen_from_source(condition: ViewCondition, width: int, height: int) -> Tensor:
    """Pluecker rays of the targets in the world turned about its vertical so that the source has azimuth 0."""
    cameras: CameraTensors = condition.target_cameras.resized(width, height)
    rays = pluecker_rays(cameras)
    source = condition.source_cameras.positions[condition.sets]
    azimuth = torch.atan2(source[:, 0], -source[:, 1])
    cosine, sine = azimuth.cos(), azimuth.sin()
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    turn = torch.stack([cosine, sine, zero, -sine, cosine, zero, zero, zero, one], 1).reshape(-1, 3, 3)
    direction = torch.einsum("bij,bjhw->bihw", turn, rays[:, :3])
    moment = torch.einsum("bij,bjhw->bihw", turn, rays[:, 3:])
    return torch.cat([direction, moment], 1)
