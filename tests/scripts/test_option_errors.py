import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from distill_core.errors import UserError
from scripts.command_line import parse
from tests.scripts.processes import PROGRAMS, REPOSITORY


class Brush(BaseModel):
    width_px: int = 3
    angle_degrees: float | Literal["auto"] = "auto"
    dry: bool = False


class Fence(BaseModel):
    name: Annotated[str, tyro.conf.Positional]
    output_dir: Path
    posts: tuple[int, ...] = (1,)
    wood: Literal["oak", "pine", "ash"] = "oak"
    limit: int | None = None
    brush: Brush = Brush()


class Wall(BaseModel):
    height_px: int = 1


BUILDING = Annotated[Fence, tyro.conf.subcommand("fence")] | Annotated[Wall, tyro.conf.subcommand("wall")]


def refusal(settings_type: Any, *arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(settings_type, arguments=list(arguments))
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--width-px", "wide"], "--width-px: expected a whole number, got 'wide'."),
        (["--width_px=wide"], "--width-px: expected a whole number, got 'wide'."),
        (["--width-px", "1", "--width-px", "2.5"], "--width-px: expected a whole number, got '2.5'."),
        (["--width-px"], "--width-px: expected a whole number, got nothing."),
        (["--width-px", "--dry"], "--width-px: expected a whole number, got nothing."),
        (["--angle-degrees", "left"], "--angle-degrees: expected a number or auto, got 'left'."),
        (["--posts", "1", "two"], "--posts: expected a whole number, or several, got '1 two'."),
        (["--wood", "elm"], "--wood: expected oak, pine or ash, got 'elm'."),
        (["--limit", "few"], "--limit: expected a whole number or None, got 'few'."),
        (["--widht-px", "3"], "Expected what --help lists, got --widht-px (perhaps --width-px was meant)."),
        (["--no-drv"], "Expected what --help lists, got --no-drv (perhaps --no-dry was meant)."),
        (["--zzz", "--wod=oak"], "Expected what --help lists, got --zzz and --wod (perhaps --wood was meant)."),
        (["gate"], "Expected what --help lists, got 'gate'."),
    ],
)
def test_what_was_expected_and_what_came(arguments: list[str], sentence: str) -> None:
    complete = ["garden", "--output-dir", "out"]
    assert refusal(Fence, *complete, *arguments) == sentence
    assert refusal(BUILDING, "fence", *complete, *arguments) == sentence


def test_what_is_missing_is_named_as_it_is_typed() -> None:
    assert refusal(Fence) == "Expected NAME and --output-dir, got a command line without; --help explains every option."
    assert refusal(Fence, "garden", "--output-dri", "out") == (
        "Expected --output-dir, got --output-dri (perhaps --output-dir was meant)."
    )
    assert refusal(Fence, "--nmae", "garden", "--output-dir", "out") == "Expected NAME, got --nmae."


def test_subcommands_are_named() -> None:
    assert refusal(BUILDING) == "Expected fence or wall, got nothing; --help explains them."
    assert (
        refusal(BUILDING, "hedge", "--height-px", "3") == "Expected fence or wall, got 'hedge'; --help explains them."
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_of_every_program_is_refused_in_one_sentence(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option but switches with nothing behind it; those that do not take any text with another type's value."""
    num_tried = 0
    for model, subcommand, settings_type in models(program, monkeypatch):
        fields = dict(options(model))
        complete = [*subcommand, *required(model)]
        for option, field in fields.items():
            if field.annotation is bool:
                continue
            num_tried += 1
            if not is_list(field):
                sentence = refusal(settings_type, *complete, option)
                assert re.fullmatch(rf"{option}: expected [^\n]+, got nothing\.", sentence), sentence
            if not takes_any_text(field.annotation):
                sentence = refusal(settings_type, *complete, option, "no-such-value")
                assert re.fullmatch(rf"{option}: expected [^\n\[\]{{}}|]+, got 'no-such-value'\.", sentence), sentence
    assert num_tried or program == "scripts/doctor.py"  # which has no options


def models(program: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[BaseModel], list[str], Any]]:
    """Each model that a program fills in, the subcommand that chooses it, and what the program has tyro parse."""
    found: list[Any] = []
    monkeypatch.setattr("scripts.command_line.run", lambda main, settings_type, **_: found.append(settings_type))
    runpy.run_path(str(REPOSITORY / program), run_name="__main__")
    (settings_type,) = found
    if isinstance(settings_type, type):
        yield settings_type, [], settings_type
        return
    for member in get_args(settings_type):
        model, subcommand = get_args(member)
        yield model, [subcommand.name], settings_type


def options(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from options(field.annotation)
        elif tyro.conf.Positional not in field.metadata:
            yield "--" + name.replace("_", "-"), field


def required(model: type[BaseModel]) -> Iterator[str]:
    """A command line of all that has no default; each takes any text."""
    for field in model.model_fields.values():
        if field.is_required() and tyro.conf.Positional in field.metadata:
            yield "anything"
    for option, field in options(model):
        if field.is_required():
            yield from (option, "anything")


def is_list(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) in (tuple, list)


def takes_any_text(annotation: Any) -> bool:
    return annotation in (str, Path) or any(takes_any_text(member) for member in get_args(annotation))
