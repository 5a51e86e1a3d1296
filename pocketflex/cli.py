"""The command line: arguments in, one call, text out.

The flow's own prints go to stdout; progress, the summary and errors go to stderr. The result of
`compare` goes to stdout, because it is what that command is for.

Exit status: 0 all is well; 1 the work failed (a node or an item raised, failures were skipped or
collected, two runs differ); 2 the call is wrong (an option, a target, a file, a flow that does not
validate); 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import difflib
import importlib.util
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NoReturn

from . import __version__
from .async_node import AsyncNode
from .errors import BackendUnavailableError, FlowError, JournalError, OptionError, StateFileError, TargetError
from .flow import Flow, reachable
from .models import execute
from .observe.difference import first_difference
from .observe.report import Report
from .observe.summary import comparison, explain, summary
from .options import BatchOptions
from .outcome import RemoteTraceback, render_traceback
from .statefile import check_writable, read_state, write_state
from .target import find_flow

_FLAGS = {"max_workers": "--workers"} | {name: f"--{name}" for name in ("chunksize", "timeout", "executor", "resume")}
_CALL_ERRORS = TargetError, StateFileError, OptionError, FlowError, BackendUnavailableError, JournalError
_SHOWN = 5  # warnings of the same sort that are worth a line each
_EPILOG = """\
examples:
  pocketflex run pocketflex.examples.complexity --set top=20
  pocketflex compare work.py:flow --input settings.json --workers 8

exit status: 0 done, 1 the work failed, 2 the call is wrong, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: The words behind the command's name; None takes those of the process.
    """
    try:
        given = _parser().parse_args(arguments)
        status = _guarded(given)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read stdout is gone, as under `| head`: nobody is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _guarded(given: argparse.Namespace) -> int:
    """Run the command and turn whatever it raises into a message and a status."""
    try:
        status: int = given.command(given)
        return status
    except _CALL_ERRORS as error:
        text = "\n  ".join([_in_flags(str(error)), *getattr(error, "__notes__", ())])
        if not isinstance(error, TargetError) or error.__cause__ is None:
            _say(f"pocketflex: error: {text}")
        else:
            _report(error.__cause__, f"{text}\n  ", given.traceback)
        return 2
    except BrokenPipeError:
        raise
    except BaseException as error:  # a node may raise anything, SystemExit too
        if isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, RemoteTraceback):
            newline = "\n" if sys.stderr.isatty() else ""  # the terminal has written ^C to the line
            _say(f"{newline}pocketflex: interrupted")
            return 130
        _report(error, "", given.traceback)
        return 1


def _report(error: BaseException, before: str, is_whole: bool) -> None:
    """Say what the user's code raised, or all of it."""
    if is_whole:
        _say(render_traceback(error) + "\n")
    hint = "" if is_whole else "\n  (--traceback shows the whole traceback)"
    _say(f"pocketflex: error: {before}{explain(error)}{hint}")


def run(given: argparse.Namespace) -> int:
    """The command `run`: run a flow under one model."""
    options, shared = _options(given), _shared(given)
    if given.output:
        check_writable(given.output)
    flow, report = find_flow(given.target), Report()
    model = given.model or ("async-parallel-batch" if _is_async(flow) else "parallel-batch")
    begun = perf_counter()
    final = _execute(flow, shared, model, options, report)
    _say(summary(report, model, perf_counter() - begun, final))
    unheld = write_state(final, given.output) if given.output else []
    for where in unheld[:_SHOWN]:
        _say(f"pocketflex: warning: JSON cannot hold {where}: its repr was written")
    if len(unheld) > _SHOWN:
        _say(f"pocketflex: warning: the same is true of {len(unheld) - _SHOWN:,} more values")
    return 1 if report.failures else 0


def compare(given: argparse.Namespace) -> int:
    """The command `compare`: run a flow in order, then in parallel, and compare the results."""
    options, shared = _options(given), _shared(given)
    flow = find_flow(given.target)
    prefix = "async-" if _is_async(flow) else ""
    models, reports = (f"{prefix}batch", f"{prefix}parallel-batch"), (Report(), Report())
    finals, times = [], []
    for model, report, stdout in zip(models, reports, (io.StringIO(), sys.stdout), strict=True):
        begun = perf_counter()
        with contextlib.redirect_stdout(stdout):  # what the flow prints is wanted once
            finals.append(_execute(flow, copy.deepcopy(shared), model, options, report))
        times.append(perf_counter() - begun)
    difference = first_difference(finals[0], finals[1], "shared")
    print(comparison(models, reports, times, finals[1]))
    print(f"NOT EQUAL: the final shared states differ\n  {difference}" if difference else "equal")
    return 1 if difference or any(report.failures for report in reports) else 0


def _execute(flow: Flow, shared: dict[str, Any], model: str, options: dict[str, Any], report: Report) -> Any:
    if model.startswith("async"):
        from .aio import complete  # late: asyncio takes longer to import than most flows to start

        final = complete(flow, shared, model, options, report)
    else:
        final = execute(flow, shared, model, options, report)
    sys.stdout.flush()  # what the flow printed stands before what is said about it
    return final


def _is_async(flow: Flow) -> bool:
    return any(isinstance(node, AsyncNode) for node in reachable(flow))


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """The options of the call, checked; what was not given is left to the nodes."""
    names = (*_FLAGS, "on_error")
    options = {name: getattr(given, name) for name in names if getattr(given, name, None) is not None}
    BatchOptions.resolve(options)
    has_bar = sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
    return {**options, "progress": True} if has_bar and not given.no_progress else options


def _shared(given: argparse.Namespace) -> dict[str, Any]:
    """The shared state to begin with: the input file, and each --set over it."""
    return {**(read_state(given.input) if given.input else {}), **dict(given.set)}


def setting(text: str) -> tuple[str, Any]:
    """The key and value of a --set; a value that is not JSON is a string."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} must be written as key=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _in_flags(message: str) -> str:
    """The message of an OptionError as it reads on a command line: with the flag, and without None."""
    name, equals, rest = re.sub(", or None .*", "", message).partition("=")
    return f"{_FLAGS[name]} {rest}" if equals and name in _FLAGS else message


def _say(text: str) -> None:
    print(text, file=sys.stderr)


_MODELS = ("run", "batch", "parallel-batch", "async", "async-batch", "async-parallel-batch")
_RUN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "--model": {
        "choices": _MODELS,
        "metavar": "MODEL",
        "help": f"how batches run: {', '.join(_MODELS)}; parallel-batch, or async-parallel-batch with async nodes, "
        "unless given",
    },
    "--output": {"metavar": "FILE", "help": "write the final shared state to a JSON file"},
    "--resume": {"metavar": "FILE", "help": "keep results of batches in this journal; compute what is missing"},
}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "--set": {
        "metavar": "KEY=VALUE",
        "type": setting,
        "action": "append",
        "default": [],
        "help": "put a value into the shared state: JSON, else a string; may be repeated",
    },
    "--input": {"metavar": "FILE", "help": "read the shared state from a JSON file; --set wins over it"},
    "--workers": {"metavar": "N", "type": int, "dest": "max_workers", "help": "worker processes at the most"},
    "--chunksize": {"metavar": "N", "type": int, "help": "items handed to a worker at a time"},
    "--timeout": {"metavar": "SECONDS", "type": float, "help": "how long one item may take"},
    "--on-error": {
        "choices": ("raise", "collect", "skip"),
        "metavar": "WHAT",
        "help": "of an item that fails: raise its exception (unless given), collect it among the results, or skip it",
    },
    "--executor": {"metavar": "NAME", "help": "where parallel items run: processes (unless given), threads, serial"},
    "--no-progress": {"action": "store_true", "help": "no progress bar"},
    "--traceback": {"action": "store_true", "help": "show the whole traceback of an error"},
}


class _Parser(argparse.ArgumentParser):
    """Says in two lines what is wrong, with the nearest word that would be right."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        choice = re.search(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)", message)
        option = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        known = re.findall(r"[\w-]+", choice[2]) if choice else [*_RUN_ARGUMENTS, *_ARGUMENTS]
        wrong = choice or option
        near = difflib.get_close_matches(wrong[1], known, n=1) if wrong else []
        hint = f"did you mean {near[0]}?" if near else f"{self.prog} --help shows what there is"
        hint = "only `pocketflex run` has it" if option and option[1] in _RUN_ARGUMENTS else hint
        self.exit(2, f"pocketflex: error: {message}\n  {hint}\n")


def _parser() -> _Parser:
    about = "Run a flow of nodes under one of six execution models."
    looks: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = _Parser("pocketflex", description=about, epilog=_EPILOG, **looks)
    parser.add_argument("--version", action="version", version=f"pocketflex {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command, arguments in ((run, {**_RUN_ARGUMENTS, **_ARGUMENTS}), (compare, _ARGUMENTS)):
        about = (command.__doc__ or "").partition(": ")[2].rstrip(".")
        sub = commands.add_parser(command.__name__, help=about, description=about.capitalize(), allow_abbrev=False)
        sub.set_defaults(command=command)
        sub.add_argument(
            "target", metavar="TARGET", help="path/to/file.py or package.module, and :name of a flow in it"
        )
        for flag, properties in arguments.items():
            sub.add_argument(flag, **properties)
    return parser
