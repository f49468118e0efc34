"""What all tests share: the assets beside the checkout, seeds, threads, and shapes checked against annotations."""

import os
import random
import sys
from pathlib import Path

# Before anything imports torch or numba: two cores, and what is measured here is not speed.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
# Numba would try Intel's pool first, find the one that Open3D brought into the process, and warn of its age.
os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")

import hypothesis
import numpy as np
import pytest
from jaxtyping import install_import_hook

from tests.tiny_checkpoints import TinyCheckpoints, write_tiny_checkpoints

REPOSITORY = Path(__file__).resolve().parents[1]

# Modules whose tensor annotations beartype checks while tests run. Never one that holds numba kernels: the hook
# decorates every function, and numba cannot compile a decorated one. tests/test_doors.py asserts that it is complete.
SHAPE_CHECKED_MODULES = [
    "distill_core.camera_plot",
    "distill_core.correspondences",
    "distill_core.diffusion.parameterizations",
    "distill_core.diffusion.schedules",
    "distill_core.diffusion.timestep_schedule",
    "distill_core.distillation.batches",
    "distill_core.distillation.consistency",
    "distill_core.distillation.draw_variation",
    "distill_core.distillation.noise_levels",
    "distill_core.distillation.picture_losses",
    "distill_core.distillation.solid",
    "distill_core.distillation.view_source",
    "distill_core.guide",
    "distill_core.metrics",
    "distill_core.models.blocks",
    "distill_core.models.condition",
    "distill_core.models.control_pictures",
    "distill_core.models.correspondence_attention",
    "distill_core.models.correspondence_tuning",
    "distill_core.models.latent_codec",
    "distill_core.models.shared_attention",
    "distill_core.models.solid_network",
    "distill_core.models.text_to_image",
    "distill_core.models.view_directions",
    "distill_core.models.view_generator",
    "distill_core.models.view_network",
    "distill_core.pictures.cluttered_background",
    "distill_core.pictures.contact_sheet",
    "distill_core.pictures.framing",
    "distill_core.pictures.images",
    "distill_core.pictures.mask_parts",
    "distill_core.pictures.matte_edges",
    "distill_core.pictures.matting",
    "distill_core.pictures.plain_background",
    "distill_core.pictures.pretrained_matting",
    "distill_core.pictures.srgb",
    "distill_core.pictures.turned_views",
    "distill_core.rays",
    "distill_core.records.ball_framing",
    "distill_core.records.capture_normalisation",
    "distill_core.records.depth_files",
    "distill_core.records.multi_view_record",
    "distill_core.records.record_checks",
    "distill_core.records.record_files",
    "distill_core.records.record_geometry",
    "distill_core.solids",
    "distill_core.synchronization.equirectangular",
    "distill_core.synchronization.gaussian_field",
    "distill_core.synchronization.noise_warping",
    "distill_core.synchronization.panorama",
    "distill_core.synchronization.pixel_copies",
    "distill_core.synchronization.region_control",
    "distill_core.synchronization.score_distillation",
    "distill_core.synchronization.sequences",
    "distill_core.synchronization.view_updates",
    "distill_core.synchronization.zoom",
    "gs_integration.fitting.capture_orbit",
    "gs_integration.fitting.dataset_update",
    "gs_integration.fitting.densification",
    "gs_integration.fitting.initialization",
    "gs_integration.fitting.losses",
    "gs_integration.fitting.optimization",
    "gs_integration.fitting.plane_sweep",
    "gs_integration.fitting.splat_adam",
    "gs_integration.fitting.view_corrections",
    "gs_integration.fitting.visual_hull",
    "gs_integration.pipelines.image_to_splats",
    "gs_integration.pipelines.image_to_views",
    "gs_integration.pipelines.inspect_records",
    "gs_integration.pipelines.result_files",
    "gs_integration.pipelines.results",
    "gs_integration.pipelines.texture_results",
    "gs_integration.pipelines.view_methods",
    "gs_integration.rasterization.cpu",
    "gs_integration.rasterization.cuda",
    "gs_integration.rasterization.rasterize",
    "gs_integration.rasterization.reference",
    "gs_integration.rasterization.viewpoints",
    "gs_integration.record_viewer",
    "gs_integration.sparse_maps",
    "gs_integration.splat_projection",
    "gs_integration.splats",
    "gs_integration.texturing.joined_texture",
    "gs_integration.texturing.picture_on_mesh",
    "gs_integration.texturing.texture_denoising",
    "gs_integration.texturing.texture_feedback",
    "gs_integration.texturing.texture_filling",
    "gs_integration.texturing.texture_gathering",
    "gs_integration.texturing.texture_latents",
    "gs_integration.texturing.texture_methods",
    "gs_integration.texturing.texture_projection",
    "gs_integration.texturing.texture_scores",
    "gs_integration.texturing.texture_views",
    "renderers.blender.passes",
    "renderers.mesh_repair",
    "renderers.mesh_saving",
    "renderers.mesh_topology",
    "renderers.meshes",
    "renderers.normals",
    "renderers.ray_casting",
    "renderers.subdivision",
    "renderers.texture_space.chart_packing",
    "renderers.texture_space.direction_charts",
    "renderers.texture_space.texel_surface",
    "renderers.training.shape_variation",
]

install_import_hook(SHAPE_CHECKED_MODULES, "beartype.beartype")

# The same examples every time, and no verdict about speed on a machine that does other things besides.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    # How long an example takes to draw says how busy the machine is.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_assets() -> Path:
    """The folder of models, captures and pictures beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "assets"
    if not folder.is_dir():
        pytest.skip(f"needs the assets, expected at {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> TinyCheckpoints:
    """Published kinds of text-to-image checkpoints, tiny, with random weights."""
    pytest.importorskip("diffusers", reason="needs the extra 'pretrained'")
    return write_tiny_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, visibly, what needs a CUDA device where there is none."""
    if not any("gpu" in item.keywords for item in items):
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
