"""All that changes while a network is trained, saved and restored as one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from distill_core.distillation.checkpoints import read_state, remove_unfinished, write_state
from distill_core.distillation.ema import AveragedNetwork
from distill_core.distillation.optimizers import Optimizer
from distill_core.distillation.settings import TrainingSettings
from distill_core.errors import UserError

logger = logging.getLogger(__name__)

STATE_FILE = "training_state.safetensors"

# A training may be continued with other values of these; any other change makes it another training.
_CHANGEABLE = {
    "num_steps",
    "max_minutes",
    "checkpoint_seconds",
    "log_every_steps",
    "evaluate_every_minutes",
    "data_threads",
    "compile_network",
}

Network = TypeVar("Network", bound=nn.Module)


class TrainingState(Generic[Network]):
    """A student, its average, the optimizer, and how far they are.

    Args:
        student: The network, float32, on the training's device.
        settings: Of the training.
        recipe: JSON values that say what else makes this training what it is (objective, network, data).
    """

    def __init__(self, student: Network, settings: TrainingSettings, recipe: Mapping[str, Any]) -> None:
        self.student = student
        self.average = AveragedNetwork(student, settings.average_decay)
        self.optimizer = Optimizer(student, settings)
        self.step = 0
        self.seconds = 0.0
        self._recipe = {**recipe, "training": settings.model_dump(mode="json", exclude=_CHANGEABLE)}

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name."""
        tensors = {f"student/{name}": tensor for name, tensor in self.student.state_dict().items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors().items()}
        return tensors | {f"optimizer/{name}": tensor for name, tensor in self.optimizer.tensors().items()}

    def save(self, folder: Path) -> None:
        """Write the state; the file of before stays until the new one is whole."""
        facts = {"step": self.step, "seconds": self.seconds, "recipe": self._recipe}
        write_state(folder / STATE_FILE, self.tensors(), facts)

    def restore(self, folder: Path) -> bool:
        """Continue from a folder's state if there is one.

        Args:
            folder: Where `save` wrote.

        Returns:
            Whether there was a state.

        Raises:
            UserError: the state is broken or belongs to another training.
        """
        remove_unfinished(folder)
        path = folder / STATE_FILE
        if not path.exists():
            return False
        saved = read_state(path)
        self._check_recipe(saved.facts.get("recipe", {}), path)
        self._check_tensors(saved.tensors, path)
        parts = {
            part: {name.removeprefix(part): tensor for name, tensor in saved.tensors.items() if name.startswith(part)}
            for part in ("student/", "average/", "optimizer/")
        }
        self.student.load_state_dict(parts["student/"])
        self.average.network.load_state_dict(parts["average/"])
        self.optimizer.restore(parts["optimizer/"])
        self.step, self.seconds = int(saved.facts["step"]), float(saved.facts["seconds"])
        logger.info("Continuing %s at step %d, after %.1f minutes.", path, self.step, self.seconds / 60)
        return True

    def _check_recipe(self, saved: dict[str, Any], path: Path) -> None:
        now, before = _flattened(self._recipe), _flattened(saved)
        for name in sorted(now.keys() | before.keys()):
            if now.get(name) != before.get(name):
                raise UserError(
                    f"Expected to continue the training of {path} with {name} = {before.get(name)}, got "
                    f"{now.get(name)}; keep the old value or choose another --output-dir."
                )

    def _check_tensors(self, saved: dict[str, Tensor], path: Path) -> None:
        now = {name: tuple(tensor.shape) for name, tensor in self.tensors().items()}
        for name, shape in now.items():
            got = tuple(saved[name].shape) if name in saved else None
            if got != shape:
                raise UserError(
                    f"Expected {name} of shape {shape} in {path}, got {got or 'none'}: the state is of another "
                    "network; choose another --output-dir."
                )
        if surplus := {name for name in saved if not name.startswith("optimizer/")} - now.keys():
            raise UserError(
                f"Expected the weights of this network in {path}, got {min(surplus)} besides: the state is of another "
                "network; choose another --output-dir."
            )


def _flattened(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {
        name: value
        for key, inner in values.items()
        for name, value in _flattened(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }
