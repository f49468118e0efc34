"""Why tyro refused a command line, as the project says such things: what was expected, what came.

Tyro prints boxes of its own. What it calls with the reason before that, `tyro._errors.on_parse_error`, is not part of
its stable interface, which is why pyproject.toml names the one version of tyro that this was written against. A reason
without a sentence here keeps its box.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from tyro import _errors, conf

_TYPE_WORDS = {"INT": "a whole number", "FLOAT": "a number", "STR": "a text", "PATH": "a path"}


def refusal_sentence(event: _errors.ParseErrorEvent, settings_type: Any, arguments: Sequence[str]) -> str | None:
    """Say why a command line was refused.

    Args:
        event: tyro's reason.
        settings_type: what was to be filled in, a pydantic model or a union of models annotated as subcommands.
        arguments: the command line, without the program's name.

    Returns:
        One sentence; None if the reason is of a kind that has none here.
    """
    match event:
        case _errors.BadValue() if event.argument.is_positional():
            known = set(_options(settings_type))
            unknown = [each for each in arguments if each.startswith("--") and _spelled(each) not in known]
            return _missing([event.argument], unknown, settings_type)
        case _errors.InvalidChoice() | _errors.BadValue() | _errors.InstantiationFailure():
            if event.argument is None:
                return None
            option = _name(event.argument)
            given = " ".join(_given_values(option, arguments))
            return f"{option}: expected {_expectation(event.argument)}, got {repr(given) if given else 'nothing'}."
        case _errors.MissingArgs():
            arguments_missing = [each.arg for each in event.missing_arguments]
            return _missing(arguments_missing, event.unrecognized_tokens, settings_type)
        case _errors.MissingSubcommand():
            names = _listed(list(event.subcommand_spec.parser_from_name), "or")
            return f"Expected {names}, got nothing; --help explains them."
        case _errors.UnrecognizedArgs():
            names = list(_subcommands(settings_type))
            if names and not set(names) & set(arguments):
                return f"Expected {_listed(names, 'or')}, got {event.tokens[0]!r}; --help explains them."
            return f"Expected what --help lists, got {_unknown(event.tokens, settings_type)}."
        case _:
            return None


def _missing(missing: Sequence[Any], unknown: Sequence[str], settings_type: Any) -> str:
    names = _listed([_name(argument) for argument in missing], "and")
    if unknown:
        return f"Expected {names}, got {_unknown(unknown, settings_type)}."
    return f"Expected {names}, got a command line without; --help explains every option."


def _name(argument: Any) -> str:
    """An option as typed; of a value without one the name of its field in capitals, as in the documentation."""
    if argument.is_positional():
        return argument.field.intern_name.upper()
    return argument.lowered.name_or_flags[0]


def _expectation(argument: Any) -> str:
    """What an option takes, in words: tyro's placeholder, such as FLOAT|{auto} or [INT [INT ...]], spelled out."""
    placeholder = str(argument.lowered.metavar)
    repeated = re.fullmatch(r"\[(.+) \[(\1 )?\.\.\.\]\]", placeholder)  # long ones are not repeated inside
    kind = repeated[1] if repeated else placeholder
    words: list[str] = []
    for member in kind.split("|"):
        words += member[1:-1].split(",") if member.startswith("{") else [_TYPE_WORDS.get(member, member)]
    words.sort(key=lambda word: word == "None")  # last, however the type says it
    return _listed(words, "or") + (", or several" if repeated else "")


def _given_values(option: str, arguments: Sequence[str]) -> Iterator[str]:
    """What stands behind an option on the command line, up to the next one; of an option given twice what came last."""
    places = [place for place, argument in enumerate(arguments) if _spelled(argument) == option]
    if not places:
        return
    _, equals, value = arguments[places[-1]].partition("=")
    if equals:
        yield value
        return
    for argument in arguments[places[-1] + 1 :]:
        if argument.startswith("--"):
            return
        yield argument


def _spelled(argument: str) -> str:
    """An option without its value, with the hyphens that tyro takes underscores for."""
    return argument.partition("=")[0].replace("_", "-")


def _unknown(tokens: Sequence[str], settings_type: Any) -> str:
    """What was not understood, and what was perhaps meant by it."""
    options = [_spelled(token) for token in tokens if token.startswith("-")]
    if not options:
        return _listed([repr(token) for token in tokens], "and")
    known = sorted(set(_options(settings_type)))
    parts = []
    for option in options:
        near = difflib.get_close_matches(option, known, n=1)
        parts.append(f"{option} (perhaps {near[0]} was meant)" if near else option)
    return _listed(parts, "and")


def _options(settings_type: Any) -> Iterator[str]:
    """All options of the settings, those of nested models and of all subcommands included."""
    for model in _models(settings_type):
        for name, field in model.model_fields.items():
            nested = list(_models(field.annotation))
            if nested:
                yield from _options(field.annotation)
            elif conf.Positional not in field.metadata:
                spelled = name.replace("_", "-")
                yield f"--{spelled}"
                if field.annotation is bool:
                    yield f"--no-{spelled}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models that an annotation admits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _models(member)


def _subcommands(settings_type: Any) -> Iterator[str]:
    """The names of a union's subcommands, in its order; none of a single model."""
    if typing.get_origin(settings_type) in (typing.Union, types.UnionType):
        for member in typing.get_args(settings_type):
            yield from (each.name for each in typing.get_args(member)[1:] if getattr(each, "name", None))


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
