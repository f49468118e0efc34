"""Objects to be rendered from whatever a person names: a folder of models, or Objaverse in one of its forms."""

from pathlib import Path

from distill_core.errors import UserError
from renderers.sources.local_folder import local_objects
from renderers.sources.objaverse import (
    ObjaverseFilter,
    downloaded_objects,
    fetched_objects,
    is_download,
    is_licence_admitted,
    listed_objects,
    read_uid_list,
)
from renderers.sources.objects import SourceObject
from renderers.sources.settings import SourceSettings

FETCHED = "objaverse"


def find_objects(source: str, settings: SourceSettings) -> list[SourceObject]:
    """The objects of a source that the person wants.

    Args:
        source: "objaverse" (what its package fetches), a download of Objaverse 1.0, a .csv that lists what was
            downloaded of Objaverse-XL, or a folder of models. A folder that bears the name is ./objaverse.
        settings: which of them.

    Raises:
        UserError: nothing there, nothing that is wanted, or a choice that the source knows nothing of.
    """
    path = Path(source)
    wanted = ObjaverseFilter(
        categories=settings.categories,
        licences=settings.licences,
        uids=read_uid_list(settings.uids) if settings.uids is not None else (),
        limit=settings.limit,
    )
    if source == FETCHED:
        return fetched_objects(wanted, processes=settings.downloads)
    if path.suffix.lower() == ".csv":
        return listed_objects(path, wanted)
    if is_download(path):
        return downloaded_objects(path, wanted)
    return _of_a_folder(path, settings)


def _of_a_folder(folder: Path, settings: SourceSettings) -> list[SourceObject]:
    for option, given in (("--categories", settings.categories), ("--uids", settings.uids)):
        if given:
            raise UserError(
                f"{option}: expected a source that states them (Objaverse), got {folder}, a folder of models; name its "
                "files in an index.csv instead."
            )
    objects = [thing for thing in local_objects(folder) if is_licence_admitted(thing.licence, settings.licences)]
    if not objects:
        named = ", ".join(settings.licences)
        raise UserError(f"{folder}: expected models under {named} by its index.csv, found none; name other licences.")
    return objects[: settings.limit]
