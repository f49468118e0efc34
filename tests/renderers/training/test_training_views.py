"""Draws of training views: pure, held to the training splits, mirrored as one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill_core.distillation.draw_variation import mirrored
from distill_core.errors import UserError
from renderers.training.packed_models import PackedModels, training_models
from renderers.training.training_views import PHOTO_TEXTURED_PREFIXES, TrainingViews, TrainingViewsSettings

_SMALL = TrainingViewsSettings(resolution_px=32, targets=2, sources_per_solid=2)


@pytest.fixture(scope="module")
def source(shared_assets: Path) -> TrainingViews:
    return TrainingViews(shared_assets / "models", _SMALL, seed=3)


def test_a_draw_depends_on_seed_and_index_alone(source: TrainingViews, shared_assets: Path):
    first, again = source.draw(5), source.draw(5)
    other = TrainingViews(shared_assets / "models", _SMALL, seed=3).draw(5)
    for drawn in (again, other):
        assert drawn.name == first.name
        assert torch.equal(drawn.pictures, first.pictures)
    assert not torch.equal(source.draw(6).pictures, first.pictures)


def test_solids_are_drawn_purely_too(source: TrainingViews):
    first, again = source.draw_solid(2), source.draw_solid(2)
    assert torch.equal(first.occupied, again.occupied)
    assert torch.equal(first.pictures, again.pictures)
    # Behind every covered pixel something is there, behind an empty one nothing.
    alpha = torch.nn.functional.avg_pool2d(first.pictures[:, 3], 2)
    depth_of_solid = first.occupied.sum(1)
    assert (depth_of_solid[alpha > 0.9] > 0).all()
    assert (depth_of_solid[alpha == 0] == 0).all()


def test_held_out_models_are_refused(shared_assets: Path):
    with pytest.raises(UserError, match="val is held out"):
        training_models(shared_assets / "models", ("train", "val"))


def test_no_draw_is_a_held_out_model_and_half_are_photographed(source: TrainingViews, shared_assets: Path):
    held_out = {row.name for row in PackedModels(shared_assets / "models").rows(("val",))}
    generators = [np.random.default_rng((3, 1, index)) for index in range(400)]
    names = [source._draw_row(generator).name for generator in generators]
    assert held_out.isdisjoint(names)
    # Binomial of 400 at one half: four deviations are 0.1.
    assert abs(np.mean([name.startswith(PHOTO_TEXTURED_PREFIXES) for name in names]) - 0.5) < 0.1


def test_a_mirrored_set_is_the_mirror_image(source: TrainingViews):
    views = source.draw(1)
    flipped = mirrored(views)
    assert torch.equal(flipped.pictures.flip(-1), views.pictures)
    # A world point seen at a pixel is, mirrored in x = 0, seen at the mirrored pixel.
    points = np.random.default_rng(0).normal(size=(20, 3)) * 0.4
    for camera, mirror in zip(views.cameras, flipped.cameras, strict=True):
        pixels, depth = camera.project(points)
        mirrored_pixels, mirrored_depth = mirror.project(points * [-1, 1, 1])
        np.testing.assert_allclose(mirrored_pixels[:, 0], camera.width - pixels[:, 0], atol=1e-9)
        np.testing.assert_allclose(mirrored_pixels[:, 1], pixels[:, 1], atol=1e-9)
        np.testing.assert_allclose(mirrored_depth, depth, atol=1e-12)
    assert flipped.normals is not None
    assert views.normals is not None
    torch.testing.assert_close(flipped.normals[:, 0].flip(-1), -views.normals[:, 0])
    assert mirrored(flipped).pictures.equal(views.pictures)
