"""The one place where pydantic's complaints become a sentence for the person."""

from collections.abc import Callable

import pydantic

from distill_core.errors import UserError

_PLAIN_TYPES = {"int", "float", "str", "bool", "none", "tuple", "list"}


def _field_name(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the settings"


def validation_sentence(
    error: pydantic.ValidationError, name_of: Callable[[tuple[int | str, ...]], str] = _field_name
) -> str:
    """Say what was expected of each field, and what it got.

    Args:
        error: what pydantic raised.
        name_of: turns a field's location, such as ("fit", "iterations"), into the name that the person knows.
    """
    expectations: dict[str, list[str]] = {}
    inputs: dict[str, object] = {}
    complete = []
    for problem in error.errors(include_url=False):
        what = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        location = _without_members(problem["loc"])
        name = name_of(location)
        if problem["type"] in ("value_error", "assertion_error"):  # written by this project, complete as it is
            complete.append(f"{name}: {what}" if location else what)
        else:
            match problem:
                case {"type": "too_short", "ctx": {"min_length": number}}:
                    what = f"expected {number} or more"
                case {"type": "too_long", "ctx": {"max_length": number}}:
                    what = f"expected {number} or fewer"
            what = what.replace("Input should be", "expected", 1).replace("Value should", "it should", 1)
            expectations.setdefault(name, []).append(f"{what[:1].lower()}{what[1:]}")
            inputs[name] = problem["input"]
    # A value that fits no member of a union has a complaint of each.
    parts = complete + [
        f"{name}: {' or '.join([whats[0], *(what.removeprefix('expected ') for what in whats[1:])])}, "
        f"got {_short(inputs[name])}"
        for name, whats in expectations.items()
    ]
    sentence = "; ".join(parts)
    return sentence if sentence.endswith(".") else sentence + "."


def _without_members(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The location of a field without the names that pydantic gives to the members of a union."""
    return tuple(
        part for part in location if isinstance(part, int) or (part.isidentifier() and part not in _PLAIN_TYPES)
    )


def user_error(error: pydantic.ValidationError) -> UserError:
    """Return pydantic's complaint as the project's own error.

    Args:
        error: what pydantic raised.
    """
    return UserError(validation_sentence(error))


def _short(value: object, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."
