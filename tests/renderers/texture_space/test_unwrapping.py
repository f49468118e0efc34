import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from distill_core.errors import Cancelled, UserError
from renderers.meshes import TexturedMesh, load_mesh, normalised, transformed
from renderers.texture_space import unwrapping
from renderers.texture_space.chart_packing import pack_rectangles
from renderers.texture_space.direction_charts import unwrap_by_direction
from renderers.texture_space.texel_surface import claim_texels, texel_surface
from renderers.texture_space.unwrapping import layout_fault, ready_for_texturing
from tests.renderers.texturable_meshes import bare_mesh, charted_box


class Recorder:
    def __init__(self, cancel_after_seconds: float | None = None) -> None:
        self.stages: list[str] = []
        self._cancel_at = None if cancel_after_seconds is None else time.monotonic() + cancel_after_seconds

    def stage(self, name: str, total: int | None) -> None:
        self.stages.append(name)

    def advance(self, n: int = 1, preview: np.ndarray | None = None) -> None:
        if self._cancel_at is not None and time.monotonic() > self._cancel_at:
            raise Cancelled


def surface_areas(mesh: TexturedMesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces]
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def uv_areas(uvs: np.ndarray) -> np.ndarray:
    """Signed: positive where the texture is not mirrored on the outside."""
    to_1, to_2 = (uvs[:, 1] - uvs[:, 0]).astype(float), (uvs[:, 2] - uvs[:, 0]).astype(float)
    return (to_1[:, 0] * to_2[:, 1] - to_2[:, 0] * to_1[:, 1]) / 2


def assert_serves(mesh: TexturedMesh) -> None:
    assert layout_fault(mesh) is None
    assert mesh.corner_uvs.min() >= 0
    assert mesh.corner_uvs.max() <= 1
    claims = claim_texels(mesh.corner_uvs, 512)
    assert claims.contested_share < 1e-3
    assert (claims.owner >= 0).mean() > 0.15


def test_coordinates_that_serve_are_kept_as_they_are() -> None:
    box = charted_box()
    ready = ready_for_texturing(box)
    assert ready.method == "kept"
    np.testing.assert_array_equal(ready.mesh.corner_uvs, box.corner_uvs)
    # Whole tiles of a repeating texture are the same places.
    shifted = replace(box, corner_uvs=box.corner_uvs + np.array([3, -2], np.float32))
    moved_back = ready_for_texturing(shifted)
    assert moved_back.method == "kept"
    np.testing.assert_allclose(moved_back.mesh.corner_uvs, box.corner_uvs, atol=1e-6)


@pytest.mark.parametrize(
    ("uvs", "fault"),
    [
        (np.zeros((12, 3, 2), np.float32), "no texture coordinates"),
        (charted_box().corner_uvs * np.float32(1.5), "cross the edge"),
        (np.tile(charted_box().corner_uvs[:6], (2, 1, 1)), "several places"),
        (np.concatenate([charted_box().corner_uvs[:10], np.zeros((2, 3, 2), np.float32)]), "16.7% of its surface"),
        (np.tile(np.array([[0, 0], [1, 0], [0, 1]], np.float32), (12, 1, 1)), "6.0 times"),
    ],
)
def test_coordinates_that_do_not_serve_are_told_by_their_fault(uvs: np.ndarray, fault: str) -> None:
    found = layout_fault(replace(charted_box(), corner_uvs=uvs))
    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    "name", ["spot_overlapping_uv.obj", "suzanne_stacked_uv.obj", "suzanne_quads.obj", "featuretype.stl"]
)
def test_meshes_with_missing_or_overlapping_coordinates_are_unwrapped(
    name: str, shared_assets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mesh = load_mesh(shared_assets / "texturing" / name)
    with caplog.at_level(logging.INFO, logger="renderers.texture_space.unwrapping"):
        ready = ready_for_texturing(mesh)
    assert ready.method == "xatlas"
    assert_serves(ready.mesh)
    assert len([record for record in caplog.records if "unwrapped" in record.message]) == 1
    # A texel is worth about the same everywhere. (xatlas turns charts by swapping their axes, so some are mirrored.)
    worth = np.abs(uv_areas(ready.mesh.corner_uvs)) / surface_areas(ready.mesh)
    big = surface_areas(ready.mesh) > np.median(surface_areas(ready.mesh))
    low, high = np.percentile(worth[big], [5, 95])
    assert 0 < low < high < 5 * low


def test_a_mesh_of_many_parts_and_pictures_gets_one_layout(shared_assets: Path) -> None:
    mesh = load_mesh(shared_assets / "texturing" / "many_parts_50.glb")
    ready = ready_for_texturing(mesh)
    assert_serves(ready.mesh)
    assert len(ready.mesh.base_colours) == 1


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_size_and_place_change_nothing(scale: float) -> None:
    shape = trimesh.creation.icosphere(subdivisions=2)
    mesh = bare_mesh(shape.vertices, shape.faces)
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[:3, 3] = 100 * scale
    one, other = ready_for_texturing(mesh), ready_for_texturing(transformed(mesh, matrix))
    assert_serves(other.mesh)
    assert np.ptp(other.mesh.vertices) == pytest.approx(2 * scale, rel=0.3)
    np.testing.assert_allclose(
        np.sort(np.abs(uv_areas(one.mesh.corner_uvs))), np.sort(np.abs(uv_areas(other.mesh.corner_uvs))), atol=1e-5
    )


def test_large_meshes_are_cut_into_charts_of_one_direction(caplog: pytest.LogCaptureFixture) -> None:
    shape = trimesh.creation.torus(0.7, 0.25, major_sections=220, minor_sections=114)
    mesh = bare_mesh(shape.vertices, shape.faces)
    assert len(mesh.faces) > unwrapping.XATLAS_MAX_FACES
    with caplog.at_level(logging.INFO, logger="renderers.texture_space.unwrapping"):
        ready = ready_for_texturing(mesh)
    assert ready.method == "directions"
    assert "one direction" in caplog.text
    assert_serves(ready.mesh)
    # Seen along an axis of six, no face loses more than its cosine: at worst (1, 1, 1) / sqrt(3), a little less
    # where borders were straightened.
    worth = uv_areas(ready.mesh.corner_uvs) / surface_areas(ready.mesh)
    assert worth.min() > 0.25 * worth.max() * (1 - 1e-3)


def test_sheets_on_top_of_one_another_become_charts_of_their_own() -> None:
    # A spiral ramp of three turns: one connected sheet that always looks up and covers itself twice.
    turns, steps = 3, 240
    angle = np.linspace(0, turns * 2 * np.pi, steps)
    rim = np.stack([np.cos(angle), np.sin(angle), 0.08 * angle / np.pi], axis=-1)
    vertices = np.concatenate([rim * [0.4, 0.4, 1], rim])
    faces = np.array([f for k in range(steps - 1) for f in ((k, k + steps, k + 1), (k + 1, k + steps, k + steps + 1))])
    uvs = unwrap_by_direction(vertices, faces, texture_size=256, padding_texels=2)
    assert claim_texels(uvs, 256).contested_share < 2e-3
    assert (uv_areas(uvs) > 0).all()
    surface = texel_surface(bare_mesh(vertices, faces, uvs), 256)
    owned = np.isin(np.arange(len(faces)), surface.owner)
    assert owned.mean() > 0.99


def test_a_soup_of_triangles_is_told_when_the_texture_is_too_small() -> None:
    rng = np.random.default_rng(0)
    vertices = (rng.random((3000, 1, 3)) + 0.02 * rng.normal(size=(3000, 3, 3))).reshape(-1, 3)
    faces = np.arange(9000).reshape(-1, 3)
    with pytest.raises(UserError, match=r"64 x 64.*3,000.*larger texture"):
        unwrap_by_direction(vertices, faces, texture_size=64, padding_texels=2)
    uvs = unwrap_by_direction(vertices, faces, texture_size=512, padding_texels=2)
    assert claim_texels(uvs, 512).contested_share == 0


def test_packed_rectangles_keep_their_distance_and_fill_the_square() -> None:
    sizes = np.random.default_rng(0).gamma(2, 1, size=(200, 2))
    places, scale = pack_rectangles(sizes, 512, 4)
    ends = places + sizes * scale
    assert places.min() >= 2 - 1e-9
    assert ends.max() <= 510 + 1e-9
    gaps = np.maximum(places[:, None] - ends[None], places[None] - ends[:, None]).max(axis=-1)
    np.fill_diagonal(gaps, np.inf)
    assert gaps.min() >= 4 - 1e-9
    assert ((sizes * scale + 4).prod(axis=1)).sum() > 0.6 * 512**2


def test_a_cancelled_job_ends_the_child_at_once(shared_assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = load_mesh(shared_assets / "texturing" / "armadillo_16k.ply")
    started: list[int] = []
    real = unwrapping.subprocess.Popen

    def spy(*arguments: object, **named: object) -> object:
        child = real(*arguments, **named)  # pyright: ignore[reportCallIssue, reportArgumentType]
        started.append(child.pid)
        return child

    monkeypatch.setattr(unwrapping.subprocess, "Popen", spy)
    # The first question comes while the child still imports what it needs.
    recorder = Recorder(cancel_after_seconds=0)
    with pytest.raises(Cancelled):
        ready_for_texturing(bare_mesh(mesh.vertices, mesh.faces), progress=recorder)
    assert recorder.stages == ["unwrapping"]
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


@pytest.mark.parametrize("texture_size", [0, -5, 100_000])
def test_an_impossible_texture_size_is_refused_in_a_sentence(texture_size: int) -> None:
    with pytest.raises(UserError, match=f"16 to 8192 .*{texture_size}"):
        ready_for_texturing(charted_box(), texture_size=texture_size)


def test_meshes_that_cannot_be_textured_are_refused_when_loaded(shared_assets: Path) -> None:
    for name, words in (
        ("no_faces.obj", "no faces"),
        ("nan_vertices.glb", "not finite"),
        ("degenerate.obj", "no area"),
    ):
        with pytest.raises(UserError, match=words):
            load_mesh(shared_assets / "bad_inputs" / name)


def test_normalised_and_loaded_meshes_take_the_same_coordinates() -> None:
    box = replace(charted_box(), corner_uvs=np.zeros((12, 3, 2), np.float32))
    large = transformed(box, np.diag([50.0, 50.0, 50.0, 1.0]))
    ready = ready_for_texturing(large)
    np.testing.assert_allclose(normalised(ready.mesh).vertices, box.vertices, atol=1e-12)
    assert_serves(ready.mesh)


def test_nothing_is_imported_from_the_folder_that_the_program_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("renderers", "numpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not asked for')")
    monkeypatch.chdir(tmp_path)
    box = charted_box()
    assert ready_for_texturing(bare_mesh(box.vertices, box.faces)).method == "xatlas"
