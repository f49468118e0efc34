"""The one file that a training can be continued from: tensors in safetensors, everything else as JSON in its header."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from distill_core.errors import UserError

FORMAT = "onestep3d training state 1"
_KEY = "onestep3d"
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class SavedState:
    """What a state file holds.

    Args:
        tensors: By name.
        facts: JSON values: step, seconds, settings.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def write_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a state so that at every moment either the old file or the new one is there, whole.

    Args:
        path: Of the file; its folder exists.
        tensors: By name, on any device; two names may not share memory.
        facts: JSON values.
    """
    unfinished = path.with_name(path.name + _UNFINISHED)
    header = {_KEY: json.dumps({"format": FORMAT, **facts})}
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, unfinished, header)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_state(path: Path) -> SavedState:
    """Read a state file.

    Args:
        path: Of the file.

    Returns:
        Tensors on the CPU, and the facts.

    Raises:
        UserError: the file is broken or no training state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            found = facts.get("format")
            if found != FORMAT:
                raise UserError(
                    f"Expected a training state ({FORMAT}) in {path}, got {found or 'another safetensors file'}; "
                    "choose another --output-dir."
                )
            return SavedState({name: file.get_tensor(name) for name in file.keys()}, facts)
    except (SafetensorError, ValueError, AttributeError) as error:
        raise UserError(
            f"Expected a training state in {path}, got a file that cannot be read ({error}); remove it or choose "
            "another --output-dir."
        ) from error


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a folder."""
    for path in folder.glob("*" + _UNFINISHED):
        path.unlink()
