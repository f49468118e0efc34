"""What can go wrong that a person can mend.

    UserError        a sentence for the person: what was expected, what was found, what to do
    Cancelled        the caller asked a running job to stop

Scripts print a `UserError` alone on standard error and exit with 2; everything else is a bug and keeps
its traceback.
"""


class UserError(Exception):
    """A sentence for the person at the keyboard: expected, got, what to do."""


class Cancelled(Exception):
    """The caller asked a running job to stop; what is finished is kept."""
