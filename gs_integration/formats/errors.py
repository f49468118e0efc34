"""What a splat file can be told to be."""


class FormatError(Exception):
    """A sentence for the person whose file cannot be read or written: expected, got, what to do."""
