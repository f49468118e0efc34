"""What holds for every program in scripts/, those included that nobody has written yet."""

import re

import pytest

from tests.scripts.processes import PROGRAMS, REPOSITORY, cpu_seconds, run_program

# A second is what a person is promised; a test on a busy machine compares processor time, which is the larger of the
# two figures, and forgives caches that are not warm.
HELP_CPU_SECONDS = 1.3


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_explains_and_answers_at_once(program: str) -> None:
    seconds, page = min((cpu_seconds([program, "--help"]) for _ in range(2)), key=lambda pair: pair[0])
    assert seconds < HELP_CPU_SECONDS
    assert page.startswith("usage: ")
    for subcommand in subcommands(page):
        seconds, subpage = cpu_seconds([program, subcommand, "--help"])
        assert seconds < HELP_CPU_SECONDS
        assert not undescribed_options(subpage), f"{program} {subcommand} leaves options unexplained"
    assert not undescribed_options(page), f"{program} leaves options unexplained"


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_is_refused_in_one_sentence(program: str) -> None:
    status, output, error = run_program([program, "--no-such-option", "1"])
    assert (status, output) == (2, "")
    assert re.fullmatch(r"error: Expected .+, got .+\n", error)


def test_every_program_ends_through_the_common_entry() -> None:
    for program in PROGRAMS:
        assert re.search(r"^    run\(", (REPOSITORY / program).read_text(), re.MULTILINE), program


def subcommands(page: str) -> list[str]:
    """Names in the box of subcommands of a help page."""
    box = re.search(r"─ subcommands ─.*?╰", page, re.DOTALL)
    return re.findall(r"^│\s+• ([a-z0-9_-]+)", box[0], re.MULTILINE) if box else []


def undescribed_options(page: str) -> list[str]:
    """Options of a help page with nothing but their type and default beside them."""
    entries = re.split(r"^│ (?=--|-h|[A-Z]+\b)", page, flags=re.MULTILINE)[1:]
    bare = []
    for entry in entries:
        text = " ".join(re.sub(r"[│╭╰─╯╮]", " ", entry).split())
        words = re.sub(r"\((default|required|repeatable|fixed)\b.*?\)", "", text).split()
        described = [word for word in words if re.fullmatch(r"[a-z][a-z;:,.'-]*", word)]
        if len(described) < 2:
            bare.append(text)
    return bare


def test_undescribed_options_are_found() -> None:
    page = (
        "│ --steps INT       Steps of the sampler. (default: 1) │\n"
        "│ --device {auto,cpu,cuda}                             │\n"
        "│                   (default: auto)                    │\n"
    )
    assert undescribed_options(page) == ["--device {auto,cpu,cuda} (default: auto)"]
