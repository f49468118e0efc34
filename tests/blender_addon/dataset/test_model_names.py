"""Names of objects as names of files: every one is admitted, and none is another's."""

import importlib
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_integration.protocol import name_problem


@pytest.fixture(scope="module")
def names(client_module: ModuleType) -> ModuleType:
    return importlib.import_module("onestep3d_addon.dataset.model_names")


@pytest.mark.parametrize(
    ("objects", "files"),
    [
        (["Cube", "ball"], ["Cube", "ball"]),
        (["A slab / of two"], ["A_slab_of_two"]),
        (["A", "a", "a-2"], ["A-1", "a-3", "a-2"]),
        (["a-1", "a b", "a_b"], ["a-1", "a_b-1", "a_b-2"]),
        (["Aux", "con"], ["Aux_object", "con_object"]),
        (["Aux", "Aux_object"], ["Aux_object-1", "Aux_object-2"]),
        (["", "…"], ["object-1", "object-2"]),
    ],
)
def test_known_names(objects: list[str], files: list[str], names: ModuleType) -> None:
    assert names.model_names(objects) == files


@given(
    st.lists(st.text("aA-2_ 1xü/", max_size=5) | st.sampled_from(["aux", "AUX", "nul", "com1", "object"]), max_size=9)
)
def test_no_two_are_alike_and_every_system_admits_them(names: ModuleType, objects: list[str]) -> None:
    files = names.model_names(objects)
    assert len(files) == len({file.casefold() for file in files}) == len(objects)
    assert all(name_problem(f"models/{file}.glb") is None and "/" not in file for file in files)
