"""JSON from strangers: one object, finite numbers, not too deep."""

import json
import math

from .errors import FormatError


def parsed_object(content: bytes, what: str) -> dict[str, object]:
    """Read a JSON object.

    Args:
        content: UTF-8 text; its length is the caller's to limit.
        what: names it in complaints.

    Raises:
        FormatError: not JSON, not an object, nested too deep, or a number that is not finite.
    """
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_number, parse_float=_finite_number)
    except RecursionError:
        raise FormatError(f"{what} is damaged: its JSON is nested too deep.") from None
    except UnicodeDecodeError:
        raise FormatError(f"{what} is damaged: its JSON is not UTF-8 text.") from None
    except _NotFinite as error:
        raise FormatError(f"{what} is damaged: expected finite numbers, got {error}.") from None
    except ValueError as error:  # also of whole numbers with thousands of digits
        raise FormatError(f"{what} is damaged: its JSON cannot be read ({error}).") from None
    if not isinstance(value, dict):
        raise FormatError(f"{what} is damaged: expected a JSON object, got {type(value).__name__}.")
    return value


class _NotFinite(ValueError):
    pass


def _refuse_number(text: str) -> float:
    raise _NotFinite(text)


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotFinite(text[:40])
    return value
