"""Withholding parts of what a generator is told, so that it can do without them."""

import torch

from distill_core.distillation.settings import DroppingSettings
from distill_core.models.condition import ViewCondition


def drop_parts(condition: ViewCondition, settings: DroppingSettings, generator: torch.Generator) -> ViewCondition:
    """Drop parts of the guide of single views, and everything of single sets, each at random.

    Args:
        condition: What is known.
        settings: How often what is dropped.
        generator: On the condition's device.

    Returns:
        The condition with less in it.
    """
    sets, views = condition.source.shape[0], len(condition.target_cameras)
    shares = torch.tensor(
        [settings.drop_guide_colour, settings.drop_guide_shape, settings.drop_guide_normals], device=generator.device
    )
    parts = torch.rand(views, 3, generator=generator, device=generator.device) < shares
    everything = torch.rand(sets, generator=generator, device=generator.device) < settings.drop_everything
    return condition.dropped(parts | everything.repeat_interleave(condition.views_per_set)[:, None], everything)
