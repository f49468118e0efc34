import pytest
import torch

from distill_core.distillation.checkpoints import read_state
from distill_core.distillation.settings import ConsistencySettings, TrainingSettings
from distill_core.distillation.training_log import read_log
from distill_core.errors import UserError
from distill_core.models.checkpoint_loading import load_generator, new_generator
from distill_core.progress import SilentProgress
from gs_integration.pipelines.train_generator import train_generator
from gs_integration.pipelines.training_settings import ConsistencyJob, DenoisingJob, SolidJob, networks_of
from gs_integration.pipelines.training_validation import one_step_figures

STEPS = TrainingSettings(num_steps=2, log_every_steps=1, precision="fp32")


@pytest.fixture(scope="module")
def job(shared_assets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    return {"data": shared_assets / "models", "output_dir": folder, "preset": "tiny", "draws_per_step": 2}


@pytest.fixture(scope="module")
def trained(job):
    return [
        train_generator(stage(**job, training=STEPS), SilentProgress())
        for stage in (SolidJob, DenoisingJob, ConsistencyJob)
    ]


def test_three_stages_end_in_a_checkpoint_that_generates(trained):
    solid, teacher, student = trained
    average = {name: tensor for name, tensor in read_state(solid).tensors.items() if name.startswith("average/")}
    generators = [load_generator(teacher), load_generator(student)]
    for generator in generators:
        for name, tensor in generator.solid_network.state_dict().items():
            # Checkpoints hold matrices in float16: 11 bits.
            torch.testing.assert_close(tensor, average[f"average/{name}"], rtol=2**-10, atol=1e-6)
    before, after = (generator.view_network.state_dict() for generator in generators)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert generators[0].settings.view.resolution_px == 32


def test_every_stage_logs_its_own_figures(trained):
    figures = [set(read_log(path.parent / "log.jsonl")[-1]) for path in trained]
    for name, stage in zip(["cell_iou", "error_at_pure_noise", "consistency"], figures, strict=True):
        assert name in stage


def test_a_stage_goes_on_only_with_its_own_settings(trained, job):
    changed = ConsistencyJob(**job, training=STEPS, consistency=ConsistencySettings(pairs="data"))
    with pytest.raises(UserError, match=r"consistency\.pairs = teacher, got data"):
        train_generator(changed, SilentProgress())


def test_a_missing_stage_is_a_sentence(job, tmp_path):
    elsewhere = job | {"output_dir": tmp_path}
    with pytest.raises(UserError, match=r"run `train\.py solid` first"):
        train_generator(DenoisingJob(**elsewhere), SilentProgress())
    with pytest.raises(UserError, match=r"run `train\.py denoising` to its end"):
        train_generator(ConsistencyJob(**elsewhere), SilentProgress())


def test_another_presets_solid_is_a_sentence(trained, job, tmp_path):
    small = job | {"preset": "small", "output_dir": tmp_path}
    with pytest.raises(UserError, match="choose the --preset that it was trained with"):
        train_generator(DenoisingJob(**small, solid=job["output_dir"]), SilentProgress())


def test_missing_data_is_a_sentence(job, tmp_path):
    with pytest.raises(UserError, match=r"Expected packed models \(index\.csv\), shards"):
        train_generator(SolidJob(**(job | {"data": tmp_path, "output_dir": tmp_path})), SilentProgress())


def test_validation_asks_for_a_network_of_its_size(trained, job, tmp_path):
    elsewhere = job | {"output_dir": tmp_path, "solid": job["output_dir"], "validation": tmp_path}
    with pytest.raises(UserError, match=r"Expected a network of 128 px for --validation, got one of 32 px"):
        train_generator(DenoisingJob(**elsewhere), SilentProgress())


def test_validation_measures_one_step_of_a_network(shared_assets):
    networks = networks_of("small")
    generator = new_generator(networks)
    measure = one_step_figures(shared_assets / "val_views", 1, generator.solid_network, networks)
    figures = measure(generator.view_network)
    assert figures["validation_psnr"] > 0
    assert measure(generator.view_network) == figures


def test_a_stage_begins_with_given_weights(trained, job, tmp_path):
    """Steps of no size leave the weights where they began."""
    still = TrainingSettings(num_steps=1, learning_rate=1e-12, weight_decay=0, precision="fp32")
    solid, teacher, student = trained
    elsewhere = job | {"output_dir": tmp_path, "training": still}
    for initial in (solid, student):
        state = read_state(
            train_generator(
                SolidJob(**elsewhere | {"output_dir": tmp_path / initial.stem}, initial=initial), SilentProgress()
            )
        )
        for name, tensor in read_state(solid).tensors.items():
            if name.startswith("average/"):
                torch.testing.assert_close(state.tensors[name], tensor, rtol=2**-10, atol=1e-6)
    again = train_generator(DenoisingJob(**elsewhere, solid=job["output_dir"], initial=teacher), SilentProgress())
    expected = load_generator(teacher).view_network.state_dict()
    for name, tensor in load_generator(again).view_network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=2**-9, atol=1e-6)
    with pytest.raises(UserError, match="got another network's"):
        train_generator(
            SolidJob(**elsewhere | {"output_dir": tmp_path / "x", "preset": "small"}, initial=solid), SilentProgress()
        )
