"""The packed models: tars of small binary glTF files beside an `index.csv` that names their split."""

import csv
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_core.errors import UserError
from renderers.meshes import TexturedMesh, load_mesh

TRAINING_SPLITS = ("train", "shape")
_COLUMNS = ("name", "split", "source", "licence", "author", "triangles", "tar")


@dataclass(frozen=True)
class PackedModel:
    """One row of `index.csv`.

    Attributes:
        name: the model's name; its file is NAME.glb.
        split: "train", "shape" or "val".
        source: the collection that it comes from.
        licence: of the model.
        author: to be named where the licence asks for it.
        triangles: number of triangles.
        tar: name of the tar that holds it.
    """

    name: str
    split: str
    source: str
    licence: str
    author: str
    triangles: int
    tar: str


class PackedModels:
    """Packed models by name; a file is found by the tar's table of contents, read once a tar.

    Args:
        models_dir: the folder with `index.csv` and the tars.

    Raises:
        UserError: no such folder, or an index without the columns expected.
    """

    def __init__(self, models_dir: Path | str) -> None:
        self._models_dir = Path(models_dir)
        self._rows = {row.name: row for row in _read_index(self._models_dir / "index.csv")}
        self._places: dict[str, dict[str, tuple[int, int]]] = {}

    def rows(self, splits: Sequence[str]) -> list[PackedModel]:
        """The models of the splits named, in the order of the index."""
        return [row for row in self._rows.values() if row.split in splits]

    def read_bytes(self, name: str) -> bytes:
        """The binary glTF file of a model.

        Raises:
            UserError: no such model.
        """
        row = self._rows.get(name)
        if row is None:
            raise UserError(
                f"Expected a model of {self._models_dir / 'index.csv'}, got {name!r}; see its column 'name'."
            )
        tar_path = self._models_dir / row.tar
        if row.tar not in self._places:
            self._places[row.tar] = _places_in_tar(tar_path)
        if f"{name}.glb" not in self._places[row.tar]:
            raise UserError(
                f"{tar_path}: expected {name}.glb in it as index.csv says, got none; copy the folder again."
            )
        offset, size = self._places[row.tar][f"{name}.glb"]
        with tar_path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def load(self, name: str) -> TexturedMesh:
        """A model in a world with z up, in the unit ball as it is stored.

        Raises:
            UserError: no such model, or a damaged one.
        """
        return load_mesh(self.read_bytes(name), file_type="glb", name=name)


def training_models(
    models_dir: Path | str, splits: Sequence[str] = ("train",)
) -> tuple[PackedModels, list[PackedModel]]:
    """The packed models and the rows that may be trained on.

    Args:
        models_dir: the folder with `index.csv` and the tars.
        splits: among "train" and "shape".

    Raises:
        UserError: another split was asked for, `val` above all: it is held out; or the splits hold no model.
    """
    refused = [split for split in splits if split not in TRAINING_SPLITS]
    if refused:
        raise UserError(
            f"Expected training splits among {', '.join(TRAINING_SPLITS)}, got {', '.join(refused)}; "
            "val is held out and never trained on."
        )
    models = PackedModels(models_dir)
    rows = models.rows(splits)
    if not rows:
        raise UserError(f"{models_dir}: expected models of the splits {', '.join(splits)} in index.csv, got none.")
    return models, rows


def _read_index(index_path: Path) -> list[PackedModel]:
    try:
        with index_path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{index_path}: expected the columns {', '.join(_COLUMNS)}, got none named {', '.join(missing)}."
                )
            return [_read_row(row, f"{index_path}, line {reader.line_num}") for row in reader]
    except OSError as error:
        raise UserError(
            f"{index_path}: expected the index of a folder of packed models, got {error.strerror}."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{index_path}: expected a table in UTF-8, got {error}.") from error


def _read_row(row: dict[str, str | None], where: str) -> PackedModel:
    values = {column: row[column] or "" for column in _COLUMNS}
    triangles, tar = values.pop("triangles"), values["tar"]
    if not triangles.isdecimal():
        raise UserError(f"{where}: expected a number of triangles, got {triangles!r}.")
    if Path(tar).name != tar or tar in ("", "..", "."):
        raise UserError(f"{where}: expected the name of a tar beside the index, got {tar!r}.")
    return PackedModel(**values, triangles=int(triangles))


def _places_in_tar(tar_path: Path) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(tar_path, "r:") as tar:
            return {member.name: (member.offset_data, member.size) for member in tar if member.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{tar_path}: expected a tar of models, got {error}; copy the folder again.") from error
