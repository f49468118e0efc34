"""Where a job computes: what the person asked for, or a sentence why that cannot be."""

import importlib.util
import logging
from typing import Literal

import torch

from distill_core.errors import UserError

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
    if device.type == "cuda" and importlib.util.find_spec("gsplat") is None:
        logger.warning(
            "Splats are fitted on the CPU: gsplat is not installed (pip install 'onestep3d[gpu]' puts them on CUDA)."
        )
        return torch.device("cpu")
    return device
