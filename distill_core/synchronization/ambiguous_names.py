"""Names of what can be done to an ambiguous picture. No torch here."""

from typing import Literal, get_args

AmbiguousView = Literal[
    "identity",
    "flip",
    "mirror",
    "rotate-90",
    "rotate-180",
    "rotate-270",
    "negate",
    "skew",
    "patches",
    "pixels",
    "jigsaw",
    "inner-circle",
    "hinge",
]
AMBIGUOUS_VIEWS: tuple[AmbiguousView, ...] = get_args(AmbiguousView)
