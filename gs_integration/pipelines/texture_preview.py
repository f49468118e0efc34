"""The picture of a texture that is being made."""

from collections.abc import Callable

import numpy as np
import torch

from gs_integration.texturing.texture_projection import TextureProjection


def preview_on(projection: TextureProjection) -> Callable[[torch.Tensor], np.ndarray]:
    """Return what shows a texture [3, S, S], -1..1, on the mesh over white, from the first camera.

    Args:
        projection: of the mesh.
    """
    alpha = projection.alpha[0]

    def preview(texture: torch.Tensor) -> np.ndarray:
        shown = (projection.project(texture)[0].float().cpu() * 0.5 + 0.5).clamp(0, 1)
        return (shown * alpha + 1 - alpha).numpy()

    return preview
