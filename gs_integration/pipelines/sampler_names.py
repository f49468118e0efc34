"""Samplers by the names that a person types."""

from collections.abc import Callable
from typing import assert_never

from distill_core.diffusion.samplers import (
    DPMSolver2M,
    SamplerStep,
    ancestral_step,
    consistency_step,
    ddim_step,
    heun_step,
)
from gs_integration.pipelines.text_to_image_settings import SamplerName


def sampler_named(name: SamplerName) -> Callable[[], SamplerStep]:
    """Return what makes the step of a sampler, a new one for every run.

    Args:
        name: of the sampler.
    """
    match name:
        case "ddim":
            return lambda: ddim_step
        case "heun":
            return lambda: heun_step
        case "dpm-solver":
            return DPMSolver2M
        case "ancestral":
            return lambda: ancestral_step
        case "consistency":
            return lambda: consistency_step
        case _:
            assert_never(name)
