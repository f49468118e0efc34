"""What is changed of a draw so that no two meet the network alike: its colours, and which side is left."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from distill_core.distillation.view_source import ViewSet

_PALER_SHARE = 0.25


def mirrored(views: ViewSet) -> ViewSet:
    """The views of the mirror image of the object: pictures flipped, cameras mirrored in the plane x = 0."""
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    cameras = [
        replace(camera, cx=camera.width - camera.cx, camera_to_world=mirror @ camera.camera_to_world @ mirror)
        for camera in views.cameras
    ]
    normals = views.normals
    if normals is not None:
        normals = normals.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    depth = None if views.depth is None else views.depth.flip(-1)
    return ViewSet(views.pictures.flip(-1), cameras, depth, normals, views.name)


def recoloured(
    pictures: UInt8[np.ndarray, "views 4 height width"], generator: np.random.Generator
) -> Float[np.ndarray, "views 4 height width"]:
    """The pictures of a draw with one change of colour: channels, gain, contrast, paleness.

    Args:
        pictures: straight RGBA as bytes.
        generator: of the change.

    Returns:
        Straight RGBA in 0..1.
    """
    result = pictures.astype(np.float32) / 255
    if generator.random() < 0.5:
        result[:, :3] = result[:, generator.permutation(3)]
    gain = generator.uniform(0.8, 1.15)
    gamma = generator.uniform(0.85, 1.2)
    if generator.random() < 0.6:
        result[:, :3] = np.clip(result[:, :3] ** gamma * gain, 0, 1)
    if generator.random() < _PALER_SHARE:
        grey = result[:, :3].mean(1, keepdims=True)
        result[:, :3] = grey + generator.uniform(0.1, 1) * (result[:, :3] - grey)
    return result
