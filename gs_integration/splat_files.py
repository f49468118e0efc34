"""Splats to and from files: the world inside is z up, a file may have other axes."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from distill_core.errors import UserError
from gs_integration.formats.arrays import Axes, SplatArrays
from gs_integration.formats.errors import FormatError
from gs_integration.formats.ply import read_ply, write_ply
from gs_integration.splats import Splats

_LOG = logging.getLogger(__name__)


def read_splats(path: Path, *, axes_if_unsaid: Axes = "y-down") -> tuple[Splats, bool]:
    """Read a file of splats into the z-up world; what had to be dropped is logged as a warning.

    Args:
        path: a .ply file.
        axes_if_unsaid: where up is, unless the file says so.

    Returns:
        The splats, float32 on the CPU, and whether they were made for antialiased rendering.

    Raises:
        UserError: the file is missing, of another kind, damaged, or without splats.
    """
    _check_suffix(path)
    try:
        reading = read_ply(path, axes_if_unsaid=axes_if_unsaid)
    except FormatError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"Cannot read the splats {path}: {error.strerror or error}.") from None
    if reading.notes:
        _LOG.warning("%s: %s", path, " ".join(reading.notes))
    return splats_from_arrays(reading.splats), reading.splats.antialiased


def write_splats(path: Path, splats: Splats, *, axes: Axes = "y-down", antialiased: bool = False) -> None:
    """Write splats of the z-up world to a file in other axes, whole or not at all.

    Args:
        path: a .ply file; what was there is replaced.
        splats: in the z-up world.
        axes: where up is in the file; the header says so.
        antialiased: the splats were made for antialiased rendering; the header says so.

    Raises:
        UserError: an unknown ending, or the file cannot be written.
    """
    _check_suffix(path)
    try:
        write_ply(path, arrays_from_splats(splats, antialiased=antialiased).in_axes(axes))
    except OSError as error:
        raise UserError(f"Cannot write the splats {path}: {error.strerror or error}.") from None


def splats_from_arrays(arrays: SplatArrays) -> Splats:
    """Tensors in the z-up world, float32 on the CPU."""
    turned = arrays.in_axes("z-up")
    return Splats(
        means=torch.tensor(turned.means),
        quaternions_wxyz=torch.tensor(turned.quaternions_wxyz),
        log_scales=torch.tensor(turned.log_scales),
        opacity_logits=torch.tensor(turned.opacity_logits),
        harmonics=torch.tensor(turned.harmonics),
    )


def arrays_from_splats(splats: Splats, *, antialiased: bool = False) -> SplatArrays:
    """Arrays in z-up axes, quaternions of length 1 as strict readers want them.

    Args:
        splats: in the z-up world, on any device.
        antialiased: they were made for antialiased rendering.
    """
    splats = replace(splats, quaternions_wxyz=torch.nn.functional.normalize(splats.quaternions_wxyz.detach(), dim=-1))
    values = {name: tensor.detach().float().cpu().numpy() for name, tensor in splats.tensors().items()}
    return SplatArrays(**values, axes="z-up", antialiased=antialiased)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != ".ply":
        raise UserError(f"Splats are read and written as .ply files, got {path.name}: choose a name that ends in .ply.")
