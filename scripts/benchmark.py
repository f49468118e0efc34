"""Measure one claim: prints a table and writes it as JSON, with the machine that it was measured on.

    scripts/benchmark.py NAME --output FILE.json

Compares what it compares in one run; says nothing about how fast it should be.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import BaseModel, Field, create_model

import benchmarks
from distill_core.atomic_files import write_text
from distill_core.progress import Progress
from scripts.command_line import run, say


def benchmark_names() -> list[str]:
    """Return the names of the measuring programs, those modules of benchmarks/ that have settings."""
    return sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if hasattr(_module(module.name), "Settings")
    )


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


def command_type(name: str) -> Any:
    """Return the benchmark's settings with --output beside them, as a subcommand.

    Args:
        name: one of `benchmark_names`.
    """
    module = _module(name)
    model: type[BaseModel] = create_model(
        f"{name.title()}Command",
        __base__=module.Settings,
        __doc__=module.__doc__,
        output=(Path, Field(description="JSON file to write.")),
    )
    return Annotated[model, tyro.conf.subcommand(name, description=(module.__doc__ or "").partition("\n")[0])]


def main(settings: Any, progress: Progress) -> None:
    """Run the benchmark whose settings were given, print its table and write its figures."""
    from scripts.machine import describe_machine

    name = next(name for name in benchmark_names() if isinstance(settings, _module(name).Settings))
    module = _module(name)
    progress.stage(name, None)
    result = module.run(settings)
    say(module.table(result))
    figures = {
        "benchmark": name,
        "command": ["scripts/benchmark.py", *sys.argv[1:]],
        "machine": describe_machine(),
        "settings": settings.model_dump(mode="json", exclude={"output"}),
        "result": result,
    }
    write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", settings.output)
    say(f"wrote {settings.output}")


def _settings_type() -> Any:
    union: Any = None
    for name in benchmark_names():
        union = command_type(name) if union is None else union | command_type(name)
    return union


if __name__ == "__main__":
    run(main, _settings_type(), description=__doc__)
