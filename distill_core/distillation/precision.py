"""Which precision a network is trained in."""

from pathlib import Path
from typing import Literal

import torch

_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


def autocast(device: torch.device, precision: Literal["auto", "bf16", "fp32"]) -> torch.autocast:
    """Return the context in which a loss is computed; weights stay float32.

    Args:
        device: Of the network.
        precision: "auto" is bf16 where the processor computes in it, else fp32 (emulated bf16 is slower than fp32).
    """
    half = precision == "bf16" or (precision == "auto" and computes_in_bf16(device))
    # No cache: a weight that a pass without gradients has cast would be reused, without its gradient, by the next.
    return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=False)


def computes_in_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    facts = Path("/proc/cpuinfo")
    if device.type != "cpu" or not facts.exists():
        return False
    flags = next((line for line in facts.read_text().splitlines() if line.startswith("flags")), "")
    return not _BF16_FLAGS.isdisjoint(flags.split())
