import pytest

from distill_core.errors import UserError
from distill_core.models.checkpoint_loading import find_checkpoint


@pytest.fixture(autouse=True, scope="session")
def _shipped_checkpoint() -> None:
    try:
        find_checkpoint("small")
    except UserError as error:
        pytest.skip(f"needs the checkpoint that ships with the project: {error}")
