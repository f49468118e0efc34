from pathlib import Path

import numpy as np
import pytest

from benchmarks.texture import Settings, growth, ring, run, table
from renderers.mesh_topology import shared_edges
from renderers.texture_space.unwrapping import layout_fault
from tests.renderers.texturable_meshes import volume


def test_the_ring_is_closed_and_its_coordinates_serve() -> None:
    mesh = ring(48, 24)
    assert len(mesh.faces) == 2 * 48 * 24
    assert np.linalg.norm(mesh.vertices, axis=1).max() <= 1
    # A closed surface: every edge has two faces, and Euler's number of a ring is 0.
    assert len(shared_edges(mesh.vertices, mesh.faces).faces) == 3 * len(mesh.faces) // 2
    assert len(mesh.vertices) - 3 * len(mesh.faces) // 2 + len(mesh.faces) == 0
    # Pappus: the mean tube's area times the way of its middle; bumps change both a little.
    assert abs(volume(mesh) / (2 * np.pi * 0.66 * np.pi * 0.28**2) - 1) < 0.1
    assert layout_fault(mesh) is None


def test_growth_is_that_from_the_least_to_the_largest() -> None:
    grid = [{"texels": t, "pixels": p, "bytes": 10 * t + 30 * p} for t in (100, 400) for p in (100, 900)]
    grown = growth(grid[::-1])
    assert grown == {"memory": 31_000 / 4_000, "sum": 1300 / 200, "product": 400 * 900 / 100**2}


def test_time_and_memory_are_measured(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.chdir(repository)
    settings = Settings(
        num_views=2, steps=2, texture_size=64, texture_sizes=(64, 256), view_sizes=(16, 64), triangles=0
    )
    result = run(settings)
    steps = result["time"]
    assert 0 < steps["projection_seconds"] < steps["all_seconds"]
    assert 0 < steps["network_seconds"] < steps["all_seconds"]
    assert 0 < steps["gathering_seconds"] < steps["all_seconds"]
    grown = growth(result["memory"])
    assert grown["product"] == 256
    # Entries a texel depend on how many parts a texel is cut into, which is at most 4 a side.
    assert grown["memory"] < 2 * grown["sum"]
    text = table(result)
    assert f"{100 * steps['share']:.1f} %" in text
    assert "triangles" not in text


def test_the_whole_program_takes_a_mesh_without_coordinates(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    settings = Settings(num_views=3, steps=2, texture_size=64, texture_sizes=(64,), view_sizes=(16,), triangles=2000)
    large = run(settings)["large"]
    assert large["triangles"] == pytest.approx(2000, rel=0.05)
    assert large["coordinates"] == "xatlas"
    assert large["coverage"]["of_what_views_show"] > 0.9
    assert large["seconds"]["total"] > large["seconds"]["views"] > 0
    # Torch alone takes more than 100 MB, and no such mesh takes 8 GB.
    assert 1e8 < large["peak_bytes"] < 8e9
