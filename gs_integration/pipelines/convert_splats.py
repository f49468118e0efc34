"""A file of splats to another format: the same splats in the same place. No torch here."""

from pathlib import Path

from distill_core.errors import UserError
from gs_integration.formats.arrays import SplatArrays
from gs_integration.formats.by_ending import Writing
from gs_integration.pipelines.settings import ConvertSettings
from gs_integration.splat_array_files import check_splat_name, read_splat_arrays, write_splat_arrays


def convert_splats(source: Path, target: Path, settings: ConvertSettings) -> SplatArrays:
    """Read splats and write them in the format of the target's name; what gets lost is logged as a warning.

    Args:
        source: a .ply, .spz, .splat, .glb or .gltf file.
        target: a .ply, .spz, .splat or .glb file; what was there is replaced.
        settings: everything a person can choose.

    Returns:
        The splats as they were read, in the source's axes.

    Raises:
        UserError: an option that the formats do not admit, or a file that cannot be read or written.
    """
    check_splat_name(target)
    ending = target.suffix.lower()
    if settings.output_axes != "y-down" and ending != ".ply":
        raise UserError(
            f"Expected --output-axes for a .ply alone, got {target.name}: the axes of {ending} are fixed; leave it out."
        )
    if settings.spz_version != 3 and ending != ".spz":
        raise UserError(f"Expected --spz-version for an .spz alone, got {target.name}; leave it out.")
    if settings.axes != "auto" and source.suffix.lower() in (".glb", ".gltf"):
        raise UserError(f"Expected no --axes for {source.name}: glTF is y up by specification; leave it out.")
    splats = read_splat_arrays(source, axes_if_unsaid=None if settings.axes == "auto" else settings.axes)
    write_splat_arrays(target, splats, Writing(settings.output_axes, settings.spz_version))
    return splats
