"""Splats to and from files: the world inside is z up, a file may have other axes."""

from dataclasses import replace
from pathlib import Path

import torch

from gs_integration.formats.arrays import Axes, SplatArrays
from gs_integration.formats.by_ending import Writing
from gs_integration.splat_array_files import read_splat_arrays, write_splat_arrays
from gs_integration.splats import Splats


def read_splats(path: Path, *, axes_if_unsaid: Axes | None = None) -> tuple[Splats, bool]:
    """Read a file of splats into the z-up world; what had to be dropped is logged as a warning.

    Args:
        path: a .ply, .spz, .splat, .glb or .gltf file.
        axes_if_unsaid: where up is, unless the file says so; None takes what is usual for the format.

    Returns:
        The splats, float32 on the CPU, and whether they were made for antialiased rendering.

    Raises:
        UserError: the file is missing, of another kind, damaged, or without splats.
    """
    arrays = read_splat_arrays(path, axes_if_unsaid=axes_if_unsaid)
    return splats_from_arrays(arrays), arrays.antialiased


def write_splats(path: Path, splats: Splats, *, axes: Axes = "y-down", antialiased: bool = False) -> None:
    """Write splats of the z-up world to a file in its axes, whole or not at all.

    Args:
        path: a .ply, .spz, .splat or .glb file; what was there is replaced.
        splats: in the z-up world.
        axes: where up is in a .ply, whose header says so; the other formats have axes of their own.
        antialiased: the splats were made for antialiased rendering; the header says so, where the format can.

    Raises:
        UserError: an unknown ending, values that the format cannot hold, or the file cannot be written.
    """
    write_splat_arrays(path, arrays_from_splats(splats, antialiased=antialiased), Writing(axes))


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
