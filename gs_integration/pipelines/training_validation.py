"""Figures on held-out objects while a view network is trained: what one step reaches, always on the same views."""

from collections.abc import Callable
from pathlib import Path

from distill_core.errors import UserError
from distill_core.models.correspondence_tuning import CorrespondenceTuned
from distill_core.models.settings import ViewGeneratorSettings
from distill_core.models.solid_network import SolidNetwork
from distill_core.models.view_generator import ViewGenerator
from distill_core.models.view_network import ViewNetwork
from gs_integration.evaluation import score_object, summarise
from gs_integration.pipelines.settings import GENERATED_VIEW_PX, GeneratorSettings
from gs_integration.pipelines.view_methods import view_predictor
from gs_integration.validation_views import open_validation_set, read_validation_object

_LOGGED = ("psnr", "psnr_inside", "silhouette_iou", "gradient_energy_ratio")


def one_step_figures(
    validation: Path, num_objects: int, solid: SolidNetwork, networks: ViewGeneratorSettings
) -> Callable[[ViewNetwork | CorrespondenceTuned], dict[str, float]]:
    """Return what measures a view network on the first objects of a validation set, by SHA-256 of their names.

    Args:
        validation: The set, see `open_validation_set`.
        num_objects: How many objects.
        solid: The solid network that stands before the view network.
        networks: Sizes of both.

    Raises:
        UserError: there is no such set, or the network makes pictures of another size than evaluations use.
    """
    if networks.view.resolution_px != GENERATED_VIEW_PX:
        raise UserError(
            f"Expected a network of {GENERATED_VIEW_PX} px for --validation, got one of {networks.view.resolution_px} "
            "px; leave --validation out or choose --preset small."
        )
    with open_validation_set(validation, limit=num_objects) as folders:
        objects = [read_validation_object(folder, resolution=GENERATED_VIEW_PX) for folder in folders]

    def measure(network: ViewNetwork | CorrespondenceTuned) -> dict[str, float]:
        predict = view_predictor(ViewGenerator(solid, network, networks), GeneratorSettings(steps=1))
        summary = summarise([score_object("one step", truth, predict)[0] for truth in objects])
        return {f"validation_{name}": summary.figures[name] for name in _LOGGED}

    return measure
