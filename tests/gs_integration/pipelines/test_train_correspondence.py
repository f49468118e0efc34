"""The last stage of a training: attention between pixels that show the same point, on a network that stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill_core.distillation.batches import ViewBatches
from distill_core.distillation.settings import TrainingSettings
from distill_core.errors import UserError
from distill_core.models.checkpoint_loading import load_generator
from distill_core.models.correspondence_tuning import CorrespondenceTuned
from distill_core.progress import SilentProgress
from gs_integration.pipelines.train_generator import train_generator
from gs_integration.pipelines.training_data import open_training_data
from gs_integration.pipelines.training_settings import ConsistencyJob, CorrespondenceJob, DenoisingJob, SolidJob


def training(num_steps: int, learning_rate: float) -> TrainingSettings:
    return TrainingSettings(
        num_steps=num_steps, learning_rate=learning_rate, warmup_steps=5, weight_decay=0, precision="fp32"
    )


STILL = training(1, 1e-12)
"""A step of no size leaves the weights where they began."""


@pytest.fixture(scope="module")
def job(shared_assets, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("training")
    size = {"preset": "tiny", "draws_per_step": 2, "distinct_draws": 2}
    return {"data": shared_assets / "models", "output_dir": folder, **size}


@pytest.fixture(scope="module")
def plain(job) -> Path:
    """A generator that has learned two draws a little: attention has no say in what random layers make of it."""
    train_generator(SolidJob(**job, training=training(2, 1e-3)), SilentProgress())
    return train_generator(DenoisingJob(**job, training=training(40, 3e-3)), SilentProgress())


@pytest.fixture(scope="module")
def tuned(plain: Path, job) -> Path:
    """The same with attention that met the same two draws over and over."""
    return train_generator(CorrespondenceJob(**job, generator=plain, training=training(40, 1e-2)), SilentProgress())


def one_step_errors(checkpoint: Path, job: dict[str, Any]) -> np.ndarray:
    """Mean squared errors of one step's views of three batches, with the same noise and guides for all checkpoints."""
    generator = load_generator(checkpoint)
    data = open_training_data(CorrespondenceJob(**job), generator.settings.view.resolution_px)
    batches = ViewBatches(data.source, job["draws_per_step"], generator.solid_network, seed=0)
    errors = []
    for step in range(3):
        batch = batches.prepare(batches.draw(step), torch.device("cpu"))
        noise = torch.randn(batch.clean.shape, generator=torch.Generator().manual_seed(step))
        network, time = generator.view_network, torch.ones(len(batch.clean))
        with torch.inference_mode():
            clean = network(network.schedule.sigma(time)[:, None, None, None] * noise, time, batch.condition)
        errors.append(float((clean - batch.clean).square().mean()))
    return np.array(errors)


def test_attention_between_views_lowers_the_error_and_leaves_the_network_alone(plain, tuned, job):
    network = load_generator(tuned).view_network
    assert isinstance(network, CorrespondenceTuned)
    for name, tensor in load_generator(plain).view_network.state_dict().items():
        assert torch.equal(network.network.state_dict()[name], tensor)
    assert any(float(attention.out.weight.abs().max()) > 1e-3 for attention in network.attentions)  # type: ignore[union-attr]
    before, after = one_step_errors(plain, job), one_step_errors(tuned, job)
    assert (after < before).all()
    assert after.mean() < 0.985 * before.mean()


def test_attention_begins_as_the_plain_generator(plain, job, tmp_path):
    elsewhere = job | {"output_dir": tmp_path, "training": STILL}
    path = train_generator(CorrespondenceJob(**elsewhere, generator=plain), SilentProgress())
    assert load_generator(path).settings.correspondence_heads == 4
    np.testing.assert_allclose(one_step_errors(path, job), one_step_errors(plain, job), rtol=1e-6)


def test_attention_goes_on_from_a_checkpoint_that_has_it(tuned, job, tmp_path):
    elsewhere = job | {"output_dir": tmp_path, "training": STILL}
    again = load_generator(train_generator(CorrespondenceJob(**elsewhere, generator=tuned, heads=2), SilentProgress()))
    before = load_generator(tuned)
    assert again.settings == before.settings
    for name, tensor in before.view_network.state_dict().items():
        # Checkpoints hold matrices in float16.
        torch.testing.assert_close(again.view_network.state_dict()[name], tensor, rtol=2**-9, atol=1e-6)


def test_what_attention_cannot_be_trained_on_is_a_sentence(plain, tuned, job, tmp_path):
    elsewhere = job | {"output_dir": tmp_path}
    with pytest.raises(UserError, match=r"run `train\.py consistency` to its end"):
        train_generator(CorrespondenceJob(**elsewhere), SilentProgress())
    with pytest.raises(UserError, match="--heads that divides the 16 channels of a level, got 3"):
        train_generator(CorrespondenceJob(**elsewhere, generator=plain, heads=3), SilentProgress())
    with pytest.raises(UserError, match="distil first"):
        train_generator(ConsistencyJob(**elsewhere, teacher=tuned), SilentProgress())
