"""The commands together, and what becomes of their errors: sentences, and tracebacks only for who asks for them."""

from __future__ import annotations

import logging
import re
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from ._console import errors
from .ask import ask
from .chat import chat
from .demo import demo
from .doctor import doctor
from .graph import graph
from .talk import talk

__all__ = ["app", "run"]

app = typer.Typer(
    help="Voice agents that can be interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_asked = {"traceback": False}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bargein {version('bargein')}")
        raise typer.Exit


@app.callback()
def options(
    tracebacks: Annotated[bool, typer.Option("--traceback", help="Show where in the code an error came from.")] = False,
    _: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """Voice agents that can be interrupted."""
    _asked["traceback"] = tracebacks
    # What the services log goes wrong is told as the command's own sentence, or by its own news.
    logging.getLogger("bargein").addHandler(logging.NullHandler())
    logging.getLogger("bargein").propagate = tracebacks


for command in (demo, ask, chat, talk, graph, doctor):
    app.command()(command)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line (by default the program's own); gives the exit code."""
    _asked["traceback"] = False
    try:
        app(args=arguments, prog_name="bargein")
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):  # a file that was loaded may say so
            errors.print(f"bargein: {ended.code}", style="bold red", markup=False, highlight=False, soft_wrap=True)
            return 1
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _asked["traceback"]:
            traceback.print_exception(error)
        for sentence in sentences(error):
            errors.print(f"bargein: {sentence}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


def sentences(error: BaseException) -> list[str]:
    """What an exception says, without where it came from; of a group, what each of it says."""
    if isinstance(error, BaseExceptionGroup):
        return [sentence for each in error.exceptions for sentence in sentences(each)]
    said = re.sub(r"\[Errno -?\d+\] ", "", str(error)).strip()
    plain = isinstance(error, OSError | ValueError | RuntimeError | ImportError | LookupError)
    return [said if said and plain else f"{type(error).__name__}{f': {said}' if said else ''}; --traceback says where"]
