import torch

from distill_core.cameras import orbit_camera
from distill_core.models.solid_network import SolidPrediction, solid_of
from distill_core.rays import stack_cameras

_CAMERAS = stack_cameras([orbit_camera(0, 10, width=32, height=32)])


def _solid(logits: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    source = torch.cat([torch.zeros(1, 3, 32, 32), alpha], 1) * 2 - 1
    prediction = SolidPrediction(logits, torch.zeros(1, 4, 8), torch.zeros(1))
    return solid_of(prediction, source, _CAMERAS).occupancy


def test_nothing_is_occupied_outside_the_silhouette():
    alpha = torch.zeros(1, 1, 32, 32)
    alpha[..., :16] = 1
    occupancy = _solid(torch.randn(1, 12, 16, 16, generator=torch.Generator().manual_seed(0)), alpha)
    assert not occupancy[..., 8:].any()
    assert (occupancy[..., :8].amax(1) > 0).all()
    assert occupancy.max() <= 1


def test_a_ray_of_the_silhouette_is_taken_to_hit():
    """Where the depth is uncertain the largest occupancy rises towards 1; where it is certain nothing changes."""
    logits = torch.full((1, 12, 16, 16), -30.0)
    logits[:, 3, :8] = 30.0
    logits[:, 2:8, 8:] = torch.logit(torch.tensor(0.2))
    occupancy = _solid(logits, torch.ones(1, 1, 32, 32))
    torch.testing.assert_close(occupancy[:, 3, :8], torch.ones(1, 8, 16))
    assert 0.5 < occupancy[:, 5, 8:].min() <= occupancy[:, 5, 8:].max() < 1
    # Bins keep their order and their ratios.
    torch.testing.assert_close(occupancy[:, 2, 8:], occupancy[:, 7, 8:])
