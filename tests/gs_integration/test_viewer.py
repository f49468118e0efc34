import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from distill_core.cameras import orbit_camera
from gs_integration.splats import Splats, harmonics_from_colours
from gs_integration.viewer import covariances, start_viewer


def some_splats(count: int = 5) -> Splats:
    generator = torch.Generator().manual_seed(1)
    return Splats(
        means=torch.randn(count, 3, generator=generator),
        quaternions_wxyz=torch.randn(count, 4, generator=generator),
        log_scales=torch.randn(count, 3, generator=generator) - 3,
        opacity_logits=torch.randn(count, generator=generator),
        harmonics=harmonics_from_colours(torch.rand(count, 3, generator=generator)),
    )


def test_covariances_are_those_of_scipy_s_rotations():
    splats = some_splats()
    rotations = Rotation.from_quat(splats.quaternions_wxyz.numpy(), scalar_first=True).as_matrix()
    expected = rotations @ (splats.scales.numpy()[:, :, None] ** 2 * rotations.transpose(0, 2, 1))
    # float32 against float64: seven digits.
    np.testing.assert_allclose(covariances(splats).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_a_viewer_serves_splats_and_cameras():
    pytest.importorskip("viser", reason="needs the extra 'viewer'")
    server = start_viewer(some_splats(), [orbit_camera(0, 15)], [np.ones((4, 128, 128), np.float32)], port=18080)
    try:
        assert server.get_port() >= 18080
    finally:
        server.stop()
