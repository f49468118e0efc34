"""Where a job computes: what the person asked for, or a sentence why that cannot be."""

import importlib.util
import logging
from functools import cache
from typing import Literal

import torch

from distill_core.cameras import orbit_camera
from distill_core.errors import UserError
from gs_integration.rasterization.rasterize import rasterize
from gs_integration.splats import Splats

logger = logging.getLogger(__name__)


def torch_device(choice: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device that a choice means on this machine.

    Args:
        choice: auto takes CUDA if it is there.

    Raises:
        UserError: CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise UserError("Expected a CUDA device for --device cuda, found none; use --device cpu or auto.")
    return torch.device("cuda" if choice != "cpu" and available else "cpu")


def splat_device(device: torch.device) -> torch.device:
    """Return where splats are fitted when networks run on `device`; says so when that is another place."""
    if device.type == "cuda" and (problem := _gsplat_problem(device)):
        logger.warning("Splats are fitted on the CPU: %s", problem)
        return torch.device("cpu")
    return device


@cache
def _gsplat_problem(device: torch.device) -> str:
    """Why gsplat cannot draw on a device: "" if it can."""
    if importlib.util.find_spec("gsplat") is None:
        return "gsplat is not installed (pip install 'onestep3d[gpu]' puts them on CUDA)."
    try:
        rasterize(_one_splat().to(device), [orbit_camera(0, 0, width=8, height=8)], torch.zeros(3, device=device))
    except Exception as error:  # without the toolkit gsplat is there and fails at its first call, in many ways
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"gsplat does not work here ({said}); it needs the CUDA toolkit (nvcc) of torch's own CUDA version."
    return ""


def _one_splat() -> Splats:
    return Splats(
        means=torch.zeros(1, 3),
        quaternions_wxyz=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.full((1, 3), -2.0),
        opacity_logits=torch.zeros(1),
        harmonics=torch.zeros(1, 1, 3),
    )
