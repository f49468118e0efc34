import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from distill_core.errors import UserError
from gs_integration.validation_views import block_mean, first_by_hash, open_validation_set, read_validation_object


def test_block_mean_is_the_mean_of_premultiplied_pixels():
    generator = np.random.default_rng(0)
    rgba = generator.random((4, 6, 6), dtype=np.float32)
    rgba[3, :2, :2] = 0
    reduced = block_mean(rgba, 3)
    for row in range(3):
        for column in range(3):
            block = rgba[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].astype(np.float64)
            alpha = block[3].mean()
            colour = (block[:3] * block[3]).mean(axis=(1, 2)) / alpha if alpha else np.zeros(3)
            # float32 keeps about seven digits.
            np.testing.assert_allclose(reduced[:, row, column], [*colour, alpha], atol=1e-6)


def test_a_side_that_is_no_multiple_is_refused():
    with pytest.raises(UserError, match="multiple of 128"):
        block_mean(np.zeros((4, 200, 200), np.float32), 128)


def test_the_choice_by_hash_depends_on_names_alone(tmp_path: Path):
    folders = [tmp_path / name for name in ("duck", "cup", "chair", "lamp")]
    by_hash = sorted((folder.name for folder in folders), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert [folder.name for folder in first_by_hash(folders, 2)] == by_hash[:2]
    assert [folder.name for folder in first_by_hash(folders[::-1], 2)] == by_hash[:2]


@pytest.mark.parametrize("content", [None, b"no tar"])
def test_what_is_no_validation_set_is_refused(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "val.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"val|--data"), open_validation_set(tmp_path):
        pass


def test_a_tar_cannot_write_outside_its_folder(tmp_path: Path):
    with tarfile.open(tmp_path / "val.tar", "w") as tar:
        member = tarfile.TarInfo("../../escaped/transforms.json")
        tar.addfile(member, io.BytesIO())
    with pytest.raises(UserError, match=r"val\.tar"), open_validation_set(tmp_path):
        pass
    assert not list(tmp_path.glob("**/escaped"))


def test_the_real_set_is_read(shared_assets: Path):
    with open_validation_set(shared_assets / "val_views", limit=2) as folders:
        assert len(folders) == 2
        truth = read_validation_object(folders[0])
    assert truth.pictures.shape == (16, 4, 128, 128)
    # Its README: the cameras look at the origin from 1 / sin(20 degrees).
    for camera in truth.cameras:
        np.testing.assert_allclose(np.linalg.norm(camera.position), 2.9238, atol=1e-4)
        pixels, _ = camera.project(np.zeros((1, 3)))
        np.testing.assert_allclose(pixels, [[64, 64]], atol=1e-3)
