import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from distill_core.distillation.checkpoints import read_state
from distill_core.distillation.settings import TrainingSettings
from distill_core.distillation.trainer import TrainingDiverged, step_generator, train
from distill_core.distillation.training_log import LOG_FILE, read_log
from distill_core.distillation.training_state import STATE_FILE
from distill_core.distillation.update_guard import UpdateGuard
from distill_core.errors import Cancelled, UserError
from distill_core.progress import SilentProgress
from tests.distill_core.distillation import tiny_training

STEPS = 120


def settings(**changes):
    defaults = {"num_steps": 10, "precision": "fp32", "log_every_steps": 1}
    return TrainingSettings(**(defaults | changes))


def trained(folder, *, objective=tiny_training.objective, source=None, progress=None, recipe=None, **changes):
    source, progress = source or tiny_training.Numbers(), progress or SilentProgress()
    return train(tiny_training.network(), objective, source, settings(**changes), folder, progress, recipe=recipe)


def losses(folder):
    lines = read_log(folder / LOG_FILE)
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    tiny_training.run(folder, STEPS)
    return folder


def start(folder, repository):
    environment = os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, tiny_training.__file__, str(folder), str(STEPS), "0.02"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_lines(folder, lines, process):
    while len(read_log(folder / LOG_FILE)) < lines:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def assert_same_training(folder, other):
    assert losses(folder) == losses(other)
    mine, theirs = (read_state(path / STATE_FILE).tensors for path in (folder, other))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_killed_training_resumes_with_the_losses_of_an_uninterrupted_one(tmp_path, uninterrupted, repository):
    moments = random.Random(5)
    done = 0
    for _ in range(2):
        process = start(tmp_path, repository)
        wait_for_lines(tmp_path, done + moments.randint(10, 40), process)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        saved = read_state(tmp_path / STATE_FILE).facts["step"]
        assert done < saved < STEPS
        done = saved
    tiny_training.run(tmp_path, STEPS)
    assert_same_training(tmp_path, uninterrupted)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Cancelled")])
def test_signals_save_every_finished_step(tmp_path, uninterrupted, repository, number, name):
    process = start(tmp_path, repository)
    wait_for_lines(tmp_path, 20, process)
    process.send_signal(number)
    assert process.communicate(timeout=20)[1].strip() == name
    assert read_state(tmp_path / STATE_FILE).facts["step"] == len(read_log(tmp_path / LOG_FILE))
    tiny_training.run(tmp_path, STEPS)
    assert_same_training(tmp_path, uninterrupted)


def test_a_signal_waits_for_the_update_to_be_whole(tmp_path):
    done = []

    def update():
        with UpdateGuard() as guard, guard.update():
            signal.raise_signal(signal.SIGTERM)
            done.append("all of it")

    with pytest.raises(Cancelled):
        update()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_cancelled_training_is_saved(tmp_path):
    class Impatient(SilentProgress):
        def advance(self, n=1, preview=None):
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        trained(tmp_path, progress=Impatient())
    assert read_state(tmp_path / STATE_FILE).facts["step"] == 1


def test_a_finished_training_is_not_repeated(tmp_path):
    first = trained(tmp_path)
    again = trained(tmp_path)
    assert again.steps == first.steps == 10
    for name, tensor in first.average.state_dict().items():
        assert torch.equal(tensor, again.average.state_dict()[name])


def test_minutes_end_a_training_annealed(tmp_path):
    began = time.monotonic()
    result = trained(tmp_path, num_steps=None, max_minutes=0.01)
    assert 0.6 <= time.monotonic() - began < 10
    rates = [line["learning_rate"] for line in read_log(tmp_path / LOG_FILE)]
    assert len(rates) == result.steps
    assert rates[-1] < 0.05 * max(rates)
    # Time spent before an interruption counts.
    assert trained(tmp_path, num_steps=None, max_minutes=0.01).steps == result.steps


def test_training_has_one_length():
    with pytest.raises(ValidationError, match="either a number of steps or a number of minutes"):
        TrainingSettings(num_steps=3, max_minutes=1.0)
    assert TrainingSettings(num_steps=3).max_seconds is None
    assert TrainingSettings(max_minutes=2.0).max_seconds == 120
    assert TrainingSettings().max_seconds == 3600


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_step_and_keeps_the_last_state(tmp_path, where):
    trained(tmp_path, num_steps=4)

    def broken(student, batch, step, generator):
        loss, figures = tiny_training.objective(student, batch, step, generator)
        if step.index < 6:
            return loss, figures
        # The derivative of a root is infinite at 0.
        return (loss * float("nan") if where == "loss" else loss + (loss * 0).sqrt()), figures

    with pytest.raises(TrainingDiverged, match=rf"finite {where}.* at step 6, got .*{STATE_FILE}"):
        trained(tmp_path, objective=broken, num_steps=8)
    saved = read_state(tmp_path / STATE_FILE)
    assert saved.facts["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in saved.tensors.values())


def test_another_training_in_the_folder_is_refused(tmp_path):
    trained(tmp_path, recipe={"objective": {"name": "denoising"}})
    with pytest.raises(UserError, match=r"objective\.name = denoising, got solid"):
        trained(tmp_path, recipe={"objective": {"name": "solid"}}, num_steps=12)
    with pytest.raises(UserError, match=r"training\.learning_rate = 0\.0004, got 0\.1"):
        trained(tmp_path, recipe={"objective": {"name": "denoising"}}, learning_rate=0.1)


def test_another_network_in_the_folder_is_refused(tmp_path):
    trained(tmp_path)
    with pytest.raises(UserError, match=r"Expected student/0\.weight of shape \(7, 6\) .* got \(40, 6\)"):
        train(nn.Sequential(nn.Linear(6, 7)), tiny_training.objective, tiny_training.Numbers(), settings(), tmp_path,
              SilentProgress())  # fmt: skip


def test_a_broken_state_is_a_sentence(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match="cannot be read"):
        trained(tmp_path)


def test_an_error_in_the_data_reaches_the_caller(tmp_path):
    class Broken(tiny_training.Numbers):
        def draw(self, step):
            if step == 3:
                raise UserError("The model of step 3 is broken.")
            return super().draw(step)

    with pytest.raises(UserError, match="step 3"):
        trained(tmp_path, source=Broken())


def test_data_threads_do_not_change_the_training(tmp_path):
    trained(tmp_path / "one")
    trained(tmp_path / "four", data_threads=4)
    assert_same_training(tmp_path / "one", tmp_path / "four")


def test_matrices_decay_and_biases_do_not(tmp_path):
    def nothing(student, batch, step, generator):
        return sum((parameter * 0).sum() for parameter in student.parameters()), {}

    before = {name: value.clone() for name, value in tiny_training.network().state_dict().items()}
    trained(tmp_path, objective=nothing, weight_decay=1.0, learning_rate=0.1)
    after = read_state(tmp_path / STATE_FILE).tensors
    for name, value in before.items():
        same = torch.equal(after[f"student/{name}"], value)
        assert same if value.ndim < 2 else not same


def test_average_follows_the_student(tmp_path):
    # After t updates the decay is min(decay, (1 + t) / (10 + t)): recomputed here from the students' weights.
    students = []

    def watched(student, batch, step, generator):
        students.append(student[0].weight.detach().clone())
        return tiny_training.objective(student, batch, step, generator)

    average = trained(tmp_path, objective=watched, num_steps=6).average.get_parameter("0.weight")
    students.append(read_state(tmp_path / STATE_FILE).tensors["student/0.weight"])
    expected = students[0]
    for t, weight in enumerate(students[1:]):
        decay = min(0.999, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(average, expected)


def test_evaluation_sees_the_average_and_is_logged(tmp_path):
    seen = []

    def evaluate(network):
        seen.append(network.training)
        return {"psnr": 20.0}

    train(tiny_training.network(), tiny_training.objective, tiny_training.Numbers(), settings(), tmp_path,
          SilentProgress(), evaluate=evaluate)  # fmt: skip
    assert seen == [False]
    assert read_log(tmp_path / LOG_FILE)[-1] == {"step": 9, "psnr": 20.0}


def test_a_pass_without_gradient_leaves_the_next_one_its_gradient_in_bf16(tmp_path):
    # Autocast remembers the weights that it has cast; those of a pass without gradient must not serve the next.
    def twice(student, batch, step, generator):
        with torch.no_grad():
            student(batch)
        return tiny_training.objective(student, batch, step, generator)

    trained(tmp_path / "twice", objective=twice, precision="bf16")
    trained(tmp_path / "once", precision="bf16")
    assert_same_training(tmp_path / "once", tmp_path / "twice")


def test_generators_of_steps_differ_and_repeat():
    def number(seed, step):
        return float(torch.rand((), generator=step_generator(seed, step, torch.device("cpu"))))

    assert number(1, 2) == number(1, 2)
    assert len({number(seed, step) for seed in range(4) for step in range(4)}) == 16
