"""`pytest-jarvis store`: count, prune or clear the stored responses."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_jarvis.cli.common import (
    Commands,
    add_configuration_option,
    load_configuration,
    print_line,
    print_lines,
    pytest_root,
)
from pytest_jarvis.files import InputError
from pytest_jarvis.render.french.words import word

if TYPE_CHECKING:
    from pytest_jarvis.run.store import ResponseStore


_AMOUNT: Final = re.compile(r"(?P<number>\d+(?:[.,]\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_SECONDS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES: Final = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}


def add(commands: Commands) -> None:
    """Add the command and its three actions."""
    command = commands.add_parser("store", help="count, prune or clear the stored responses")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    stats = actions.add_parser("stats", help="count the stored responses by base and adapter")
    stats.set_defaults(run=show_stats)
    prune = actions.add_parser("prune", help="delete the oldest responses")
    prune.add_argument(
        "--older-than", metavar="AGE", type=_age, help="delete those written longer ago, such as 12h, 30d or 8w"
    )
    prune.add_argument(
        "--max-size", metavar="SIZE", type=_size, help="delete the oldest until the file takes less, such as 500MB"
    )
    prune.set_defaults(run=prune_store)
    clear = actions.add_parser("clear", help="delete every response")
    clear.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    clear.set_defaults(run=clear_store)
    for action in (stats, prune, clear):
        action.add_argument(
            "--store", metavar="FILE", type=Path, help="file of the store (default: output.store of the configuration)"
        )
        add_configuration_option(action)


def show_stats(options: argparse.Namespace) -> int:
    """Print how many responses are stored, by base and adapter."""
    from pytest_jarvis.render.french.session import stats_lines

    with _open_store(options) as store:
        if store is not None:
            print_lines(stats_lines(store.stats(), str(store.path)))
    return 0


def prune_store(options: argparse.Namespace) -> int:
    """Delete the responses beyond an age or a size; raise InputError when the command line has neither."""
    from pytest_jarvis.render.french.formats import size

    if options.older_than is None and options.max_size is None:
        raise InputError("store prune: nothing to delete by; give --older-than AGE, --max-size SIZE or both")
    with _open_store(options, writable=True) as store:
        if store is not None:
            count = store.prune(older_than_s=options.older_than, max_bytes=options.max_size)
            left = store.stats()
            print_line(word("store.pruned", count=count, left=left.responses, size=size(left.size_bytes)))
    return 0


def clear_store(options: argparse.Namespace) -> int:
    """Delete every response; without `--yes` ask on a terminal, and raise InputError where there is none."""
    from pytest_jarvis.render.french.session import YES

    with _open_store(options, writable=True) as store:
        if store is None:
            return 0
        count = store.stats().responses
        if not options.yes:
            if not sys.stdin.isatty():
                raise InputError(f"store clear: would delete {count} responses of {store.path}; confirm with --yes")
            print_line(word("store.question", count=count, path=str(store.path)))
            if sys.stdin.readline().strip().lower() not in YES:
                print_line(word("store.nothing_cleared"))
                return 1
        print_line(word("store.cleared", count=store.clear()))
    return 0


@contextmanager
def _open_store(options: argparse.Namespace, *, writable: bool = False) -> Iterator[ResponseStore | None]:
    """Open the store; yield None, after a message, when it does not exist yet. Raises InputError if it fails."""
    from pytest_jarvis.run.settings import store_path
    from pytest_jarvis.run.store import SQL_ERROR, ResponseStore

    path: Path = options.store or store_path(load_configuration(options.jarvis_config)[0], pytest_root())
    if not path.exists():
        if options.store is not None:
            raise InputError(f"--store {path}: no such file; leave the option out for that of the configuration")
        print_line(word("store.absent", path=str(path)))
        yield None
        return
    try:
        with closing(ResponseStore(path, writable=writable)) as store:
            yield store
    except BrokenPipeError:
        raise
    except (SQL_ERROR, OSError) as error:
        raise InputError(f"{path}: the store of responses cannot be used now: {error}") from None


def _age(text: str) -> float:
    return _amount(text, _SECONDS, "an age such as 12h, 30d or 8w")


def _size(text: str) -> int:
    return math.floor(_amount(text, _BYTES, "a size such as 500MB or 2GB"))


def _amount(text: str, units: dict[str, float], expected: str) -> float:
    """Return a number with its unit as seconds or bytes; argparse shows the message of a wrong one."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found["unit"].lower() not in units:
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
    return float(found["number"].replace(",", ".")) * units[found["unit"].lower()]
