"""The one place where pydantic's complaints become a sentence for the person."""

from collections.abc import Callable

import pydantic

from distill_core.errors import UserError


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
    parts = []
    for problem in error.errors(include_url=False, include_context=False):
        what = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        name = name_of(problem["loc"])
        if problem["type"] in ("value_error", "assertion_error"):  # written by this project, complete as it is
            parts.append(f"{name}: {what}" if problem["loc"] else what)
        else:
            what = what.replace("Input should be", "expected", 1).replace("Value should", "it should", 1)
            parts.append(f"{name}: {what[:1].lower()}{what[1:]}, got {_short(problem['input'])}")
    sentence = "; ".join(parts)
    return sentence if sentence.endswith(".") else sentence + "."


def user_error(error: pydantic.ValidationError) -> UserError:
    """Return pydantic's complaint as the project's own error.

    Args:
        error: what pydantic raised.
    """
    return UserError(validation_sentence(error))


def _short(value: object, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."
