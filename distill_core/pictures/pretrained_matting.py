"""A published matting model: ViTMatte (Yao et al. 2023) refines the edge of a mask that was found without it.

ViTMatte takes a picture and a trimap (object, background, not known) and returns coverage where it is not known: hair,
fur, spokes. Checkpoints such as `hustvl/vitmatte-small-composition-1k` are found by name; transformers brings the
network, and no code of a checkpoint runs.
"""

import importlib
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float

from distill_core.errors import UserError

# How far from the mask's edge coverage counts as not known, as a share of the picture's larger side.
_UNKNOWN_SHARE = 0.012
_SIDE_MULTIPLE_PX = 32
_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)


def matting_model(name: str) -> torch.nn.Module:
    """Load a ViTMatte checkpoint.

    Args:
        name: a published name or a folder.

    Raises:
        UserError: transformers is not installed, or there is no such checkpoint.
    """
    expected = (
        "Matting: expected auto, alpha, border, grabcut or a ViTMatte checkpoint (a name such as "
        "hustvl/vitmatte-small-composition-1k, or a folder with config.json and model.safetensors)"
    )
    if "/" not in name and not Path(name).is_dir():  # a slip of the finger is not looked for on a server
        raise UserError(f"{expected}, got {name!r}.")
    try:
        transformers = importlib.import_module("transformers")  # not resolved where the extra is not installed
    except ImportError as error:
        raise UserError(
            f"Matting by {name!r}: expected the package transformers, got none; pip install 'onestep3d[pretrained]', "
            "or choose auto, alpha, border or grabcut."
        ) from error
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type != "vitmatte":
            raise ValueError(f"a checkpoint of the kind {config.model_type!r}")
        return transformers.VitMatteForImageMatting.from_pretrained(
            name, trust_remote_code=False, use_safetensors=True
        ).eval()
    except _LOADING_ERRORS as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{expected}, got {name!r}: {reason}") from error


def trimap_of(mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """Return 1 well inside a mask, 0 well outside, 0.5 along its edge.

    Args:
        mask: the object, roughly.
    """
    size = 2 * max(2, round(_UNKNOWN_SHARE * max(mask.shape))) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    inside = cv2.erode(mask.astype(np.uint8), disc, borderValue=1)
    outside = 1 - cv2.dilate(mask.astype(np.uint8), disc, borderValue=0)
    return np.where(inside > 0, 1, np.where(outside > 0, 0, 0.5)).astype(np.float32)


def refined_coverage(
    model: torch.nn.Module, rgb: Float[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """Estimate coverage along the edge of a mask; 0 and 1 away from it.

    Args:
        model: what `matting_model` returned.
        rgb: the picture, 0..1.
        mask: where the object is, roughly.
    """
    trimap = trimap_of(mask)
    height, width = mask.shape
    device = next(model.parameters()).device
    # As the published processor prepares it: colours to -1..1, the trimap as a fourth channel in 0..1, zeros below and
    # to the right up to whole tokens and windows.
    picture = torch.from_numpy(np.concatenate([2 * rgb - 1, trimap[..., None]], axis=2)).permute(2, 0, 1)[None]
    padding = (0, -width % _SIDE_MULTIPLE_PX, 0, -height % _SIDE_MULTIPLE_PX)
    with torch.inference_mode():
        coverage = model(pixel_values=functional.pad(picture.float(), padding).to(device)).alphas
    estimated = coverage[0, 0, :height, :width].float().clamp(0, 1).cpu().numpy()
    return np.where(trimap == 0.5, estimated, trimap).astype(np.float32)
