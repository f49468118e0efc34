"""Checkpoints of the small view generator: one safetensors file, its settings as JSON in the header.

Files may come from strangers: nothing in them is code, their sizes are checked against the networks that their
settings describe, and settings are bounded before anything is built.
"""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from distill_core.errors import UserError
from distill_core.models.correspondence_tuning import CorrespondenceTuned
from distill_core.models.settings import ViewGeneratorSettings
from distill_core.models.solid_network import SolidNetwork
from distill_core.models.view_generator import ViewGenerator
from distill_core.models.view_network import ViewNetwork

FORMAT = "onestep3d view generator 1"
_KEY = "onestep3d"
_SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints"
_LARGEST_BYTES = 2_000_000_000
_LARGEST_HEADER_BYTES = 100_000_000


def find_checkpoint(name_or_path: str) -> Path:
    """The file of a checkpoint that ships with the project, or of a path.

    Args:
        name_or_path: "small", a .safetensors file, or a folder that holds `model.safetensors`.

    Raises:
        UserError: there is no such checkpoint.
    """
    shipped = _SHIPPED / name_or_path / "model.safetensors"
    if Path(name_or_path).name == name_or_path and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if path.is_dir() and (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    if path.is_file():
        return path
    names = ", ".join(sorted(folder.parent.name for folder in _SHIPPED.glob("*/model.safetensors"))) or "none"
    raise UserError(
        f"Expected a checkpoint that ships with the project ({names}) or a .safetensors file, got {name_or_path}; "
        "there is no such file."
    )


def load_generator(path: Path | str, device: torch.device | str = "cpu") -> ViewGenerator:
    """Read a view generator.

    Args:
        path: A .safetensors file, or whatever `find_checkpoint` takes.
        device: Where the networks go; float32.

    Raises:
        UserError: no such file, a broken file, or a checkpoint of another kind.
    """
    path = find_checkpoint(str(path))
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = _facts(path, file.metadata(), list(file.keys()))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise UserError(
            f"Damaged .safetensors: expected tensors that fill {path.name} exactly, got {str(error).strip()}; "
            "download or export the checkpoint again."
        ) from error
    settings = _settings(path, facts)
    generator = _empty_generator(settings)
    _fill(path, {"solid": generator.solid_network, "view": generator.view_network}, tensors)
    generator.solid_network.to(device)
    generator.view_network.to(device)
    return generator


def save_generator(path: Path, generator: ViewGenerator, facts: Mapping[str, Any]) -> None:
    """Write a view generator: matrices in float16, everything else in float32.

    Args:
        path: Of the file; its folder exists.
        generator: What to write.
        facts: JSON values for the header: training, data, licence.
    """
    tensors = {}
    for prefix, network in (("solid", generator.solid_network), ("view", generator.view_network)):
        for name, tensor in network.state_dict().items():
            kept = tensor.half() if tensor.ndim > 1 else tensor.float()
            tensors[f"{prefix}.{name}"] = kept.detach().cpu().contiguous()
    header = json.dumps({"format": FORMAT, "settings": generator.settings.model_dump(), **facts})
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(tensors, unfinished, {_KEY: header})
    os.replace(unfinished, path)


def new_generator(settings: ViewGeneratorSettings) -> ViewGenerator:
    """A view generator with fresh random weights, drawn from torch's default generator."""
    network = ViewNetwork(settings.view, source_features=settings.solid.widths[-1])
    heads = settings.correspondence_heads
    tuned = network if heads is None else CorrespondenceTuned(network, heads=heads)
    return ViewGenerator(SolidNetwork(settings.solid), tuned, settings)


def _empty_generator(settings: ViewGeneratorSettings) -> ViewGenerator:
    """A view generator whose weights are about to be read: made without drawing random numbers."""
    with torch.device("meta"):
        generator = new_generator(settings)
    generator.solid_network.to_empty(device="cpu")
    generator.view_network.to_empty(device="cpu")
    return generator


def _check_header(path: Path) -> None:
    """Refuse what is no safetensors file before the library maps it."""
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"The file is empty: expected a checkpoint in {path}, got 0 bytes; download it again.")
    if size > _LARGEST_BYTES:
        raise UserError(f"Expected a checkpoint of at most {_LARGEST_BYTES} bytes, got {size} in {path}.")
    with path.open("rb") as file:
        start = file.read(9)
    length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
    if len(start) < 9 or start[8:9] != b"{":
        raise UserError(
            f"Not a .safetensors file: expected a JSON header in {path}, got something else (pickles are never "
            "loaded); choose a checkpoint of this project."
        )
    if length > min(size - 8, _LARGEST_HEADER_BYTES):
        raise UserError(
            f"Damaged .safetensors: expected a header inside the file, got one of {length} bytes in a file of {size} "
            f"({path}); download or export the checkpoint again."
        )


def _facts(path: Path, metadata: Mapping[str, str] | None, names: list[str]) -> dict[str, Any]:
    try:
        facts = json.loads((metadata or {}).get(_KEY, "{}"))
    except (ValueError, RecursionError):
        facts = {}
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
        raise UserError(
            f"Not a checkpoint of this project: expected the metadata {_KEY!r} with format {FORMAT!r} in {path}, got "
            f"a file with the tensors {found or 'none'}; choose another checkpoint."
        )
    return facts


def _settings(path: Path, facts: Mapping[str, Any]) -> ViewGeneratorSettings:
    try:
        return ViewGeneratorSettings.model_validate(facts.get("settings"))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"Expected the settings of a view generator in the header of {path}, got a bad "
            f"{'.'.join(str(part) for part in first['loc']) or 'value'}: {first['msg']}; choose another checkpoint."
        ) from error


def _fill(path: Path, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    expected = {f"{prefix}.{name}" for prefix, network in networks.items() for name in network.state_dict()}
    if expected != set(tensors):
        missing, extra = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
        raise UserError(
            f"Expected the {len(expected)} tensors of a view generator in {path}, got {len(tensors)}"
            f"{', without ' + missing[0] if missing else ''}{', with ' + extra[0] if extra else ''}; "
            "the checkpoint belongs to another version."
        )
    for prefix, network in networks.items():
        for name, own in network.state_dict().items():
            read = tensors[f"{prefix}.{name}"]
            if read.shape != own.shape or not torch.isfinite(read).all():
                raise UserError(
                    f"Expected finite values of shape {tuple(own.shape)} in {prefix}.{name} of {path}, got shape "
                    f"{tuple(read.shape)}; the checkpoint is damaged or belongs to another version."
                )
        network.load_state_dict({name: tensors[f"{prefix}.{name}"].float() for name in network.state_dict()})
