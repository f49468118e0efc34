"""What every program in this folder does around its one pipeline call.

`run` reads the settings from the command line, checks that the output can be written, calls `main` with the
settings and a progress that speaks to the terminal, and turns every ending into an exit status:

    0     done (or what `main` returned)
    1     a bug, with its traceback
    2     something that the person can mend: one sentence on standard error
    130   Ctrl-C, within three seconds
    141   nobody reads the output any more
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from distill_core.errors import Cancelled, UserError
from distill_core.progress import Progress
from scripts.interruption import INTERRUPTED_STATUS, Interruption
from scripts.output_checks import check_output_file, check_output_folder, output_error

Settings = TypeVar("Settings")

USER_ERROR_STATUS = 2
BROKEN_PIPE_STATUS = 141  # what a shell shows of a program that the signal of a closed pipe ended


def run(
    main: Callable[[Settings, Progress], int | None],
    settings_type: type[Settings] | Any,
    *,
    description: str | None = None,
    arguments: list[str] | None = None,
) -> NoReturn:
    """Parse the command line, call `main` and exit.

    Args:
        main: the program; imports what is slow to import itself, so that --help answers at once. What it
            returns is the exit status, None meaning 0.
        settings_type: a frozen pydantic model, or a union of models annotated as tyro's subcommands.
        description: text at the top of --help, usually the script's `__doc__`.
        arguments: what to parse instead of the command line.
    """
    # Numba would try Intel's pool first, find the one that Open3D brought into the process, and warn of its age.
    os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")
    with Interruption() as interruption:
        try:
            status = _ended(main, settings_type, description, arguments, interruption)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has seen enough, as `head` has; what Python still holds goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = BROKEN_PIPE_STATUS
    sys.exit(status)


def say(text: str = "") -> None:
    """Write a line of the program's result to standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _ended(
    main: Callable[[Settings, Progress], int | None],
    settings_type: Any,
    description: str | None,
    arguments: list[str] | None,
    interruption: Interruption,
) -> int:
    """Run the program and return its exit status, having said why if it is not 0; bugs are raised."""
    try:
        return _parse_and_call(main, settings_type, description, arguments)
    except BaseException as error:
        if interruption.requested or isinstance(error, KeyboardInterrupt | Cancelled):
            # A library may have turned the interrupt into an error of its own.
            interruption.announce()
            return INTERRUPTED_STATUS
        return _status_of(error)


def _parse_and_call(
    main: Callable[[Settings, Progress], int | None], settings_type: Any, description: str | None, arguments: Any
) -> int:
    settings = parse(settings_type, description=description, arguments=arguments)
    _check_outputs(settings)
    # Rich is imported after parsing, for the sake of --help.
    from scripts.terminal import TerminalProgress, show_log

    show_log()
    with TerminalProgress() as progress:
        return main(settings, progress) or 0


def parse(settings_type: Any, *, description: str | None = None, arguments: list[str] | None = None) -> Any:
    """Read settings from the command line.

    Args:
        settings_type: a pydantic model or a union of tyro's subcommands.
        description: text at the top of --help.
        arguments: what to parse instead of the command line.

    Raises:
        UserError: an option that is unknown, missing or of another type, or a value that the settings do not admit.
        SystemExit: after --help (0), or when tyro refused a command line in a way that has no sentence here (2).
    """
    import contextlib
    import io

    import pydantic
    import tyro
    from tyro import _errors

    from scripts.option_errors import refusal_sentence

    typed = sys.argv[1:] if arguments is None else arguments

    def refuse(event: _errors.ParseErrorEvent) -> None:
        sentence = refusal_sentence(event, settings_type, typed)
        if sentence is not None:
            raise UserError(sentence)

    complaints = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaints), _errors.on_parse_error(refuse):
            return tyro.cli(settings_type, description=description, args=typed, config=(tyro.conf.OmitArgPrefixes,))
    except (SystemExit, pydantic.ValidationError) as stop:
        for cause in _chain(stop):
            if isinstance(cause, pydantic.ValidationError):
                from distill_core.validation import validation_sentence

                raise UserError(validation_sentence(cause, _option_name)) from None
        sys.stderr.write(complaints.getvalue())
        raise


def _option_name(location: tuple[int | str, ...]) -> str:
    """Return the option as typed: the last name of a nested field, since prefixes are left out."""
    names = [part for part in location if isinstance(part, str)]
    return "--" + names[-1].replace("_", "-") if names else "the options"


def _check_outputs(settings: Any) -> None:
    folder, file = getattr(settings, "output_dir", None), getattr(settings, "output", None)
    if isinstance(folder, Path):
        check_output_folder(folder)
    if isinstance(file, Path):
        check_output_file(file)


def _status_of(error: BaseException) -> int:
    """Say what ended the program and return its exit status; bugs are raised again."""
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    mendable = error if isinstance(error, UserError) else _mendable_cause(error)
    if mendable is None:
        raise error
    logging.getLogger(__name__).debug("traceback", exc_info=error)
    sys.stderr.write(f"error: {mendable}\n")
    return USER_ERROR_STATUS


def _mendable_cause(error: BaseException) -> UserError | None:
    for cause in _chain(error):
        mendable = output_error(cause)
        if mendable is not None:
            return mendable
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return the error and what caused it, outermost first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
