"""The commands as one program. Errors become sentences; `--traceback` shows where they came from."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from ._console import print_error, show_log
from .ask import ask
from .chat import chat
from .demo import demo
from .doctor import doctor
from .graph import graph
from .new import new
from .talk import talk

__all__ = ["app", "run"]

app = typer.Typer(
    help="Build and try voice agents that can be interrupted.",
    epilog="Start with: bargein demo. Then write your own agent: bargein new my_agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_options = {"traceback": False}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bargein {version('bargein')}")
        raise typer.Exit


@app.callback()
def options(
    tracebacks: Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error.")] = False,
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Build and try voice agents that can be interrupted."""
    _options["traceback"] = tracebacks
    # Commands print their own sentences, so the services' log is shown only with --traceback.
    if tracebacks:
        show_log()
    else:
        logging.getLogger("bargein").handlers[:] = [logging.NullHandler()]
        logging.getLogger("bargein").propagate = False


COMMANDS: dict[Callable[..., None], tuple[str, ...]] = {
    new: ("Write a first project.", "bargein new my_agent"),
    demo: (
        "Serve a page to talk to an agent.",
        "bargein demo",
        "bargein demo agent.py --reload",
        "bargein demo package.module:function --port 9000",
    ),
    talk: ("Talk with an agent by this machine's microphone.", "bargein talk", "bargein talk --brain openai"),
    chat: ("Write with an agent in the terminal.", "bargein chat", "bargein chat --brain offline"),
    ask: ("Ask what is said in a sound file.", "bargein ask question.wav -o answer.wav"),
    graph: ("Draw a pipeline.", "bargein graph agent.py", "bargein graph agent.py:agent -o agent.svg"),
    doctor: ("Find out what is missing.", "bargein doctor", "bargein doctor --for demo", "bargein doctor --models"),
}
"""The commands, each with its line in the list of commands and examples for its own help."""

for command, (line, *examples) in COMMANDS.items():
    heading = "Example:" if len(examples) == 1 else "Examples:"
    # Click keeps the lines of a paragraph as they are when its first line is a backspace.
    app.command(short_help=line, epilog="\n".join(("\b", heading, *(f"  {each}" for each in examples))))(command)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: The command line; None for the program's own.
    """
    _options["traceback"] = False
    try:
        app(args=arguments, prog_name="bargein")
    except SystemExit as exit_:
        if exit_.code is not None and not isinstance(exit_.code, int):  # a loaded file may call sys.exit("text")
            print_error(str(exit_.code))
            return 1
        return int(exit_.code or 0)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _options["traceback"]:
            traceback.print_exception(error)
        for sentence in describe_error(error):
            print_error(sentence)
        return 1
    return 0


def describe_error(error: BaseException) -> list[str]:
    """Return what an exception says, or what each exception of a group says, without tracebacks."""
    if isinstance(error, BaseExceptionGroup):
        return [sentence for each in error.exceptions for sentence in describe_error(each)]
    text = re.sub(r"\[Errno -?\d+\] ", "", str(error)).strip()
    # These types carry sentences. The text of others, such as KeyError, is not a sentence without the type.
    is_sentence = isinstance(error, OSError | ValueError | RuntimeError | ImportError | LookupError)
    if text and is_sentence and not isinstance(error, KeyError):
        return [text]
    return [f"{type(error).__name__}{f': {text}' if text else ''}; bargein --traceback shows where"]
