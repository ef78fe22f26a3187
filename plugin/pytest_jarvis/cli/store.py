"""`pytest-jarvis store`: what the store of responses holds, and how it is made smaller."""

from __future__ import annotations

import argparse
import math
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_jarvis.cli.common import configuration_of, say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands
    from pytest_jarvis.run.store import ResponseStore


_AMOUNT: Final = re.compile(r"(?P<number>\d+(?:[.,]\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_SECONDS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES: Final = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}


def add(commands: Commands) -> None:
    """Declare the command and its three actions."""
    command = commands.add_parser("store", help="show, prune or clear the store of responses")
    actions = command.add_subparsers(metavar="ACTION", required=True, parser_class=type(command))
    stats = actions.add_parser("stats", help="count what is in it, by base and adapter")
    stats.set_defaults(run=show_stats)
    prune = actions.add_parser("prune", help="delete the oldest responses")
    prune.add_argument(
        "--older-than", metavar="AGE", type=_age, help="delete those written longer ago, such as 12h, 30d or 8w"
    )
    prune.add_argument(
        "--max-size", metavar="SIZE", type=_size, help="delete the oldest until the file takes less, such as 500MB"
    )
    prune.set_defaults(run=prune_store)
    clear = actions.add_parser("clear", help="delete everything in it")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    clear.set_defaults(run=clear_store)
    for action in (stats, prune, clear):
        action.add_argument(
            "--store", metavar="FILE", type=Path, help="the store (default: output.store of the configuration)"
        )
        action.add_argument(
            "--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json of this folder)"
        )


def show_stats(options: argparse.Namespace) -> int:
    """Print what the store holds."""
    from pytest_jarvis.render.french.store import stats_lines

    with _opened(options) as store:
        if store is not None:
            for line in stats_lines(store.stats(), str(store.path)):
                say(line, sys.stdout)
    return 0


def prune_store(options: argparse.Namespace) -> int:
    """Delete what is too old or too much; raise InputError when neither was said."""
    from pytest_jarvis.render.french.store import pruned

    if options.older_than is None and options.max_size is None:
        raise InputError("store prune: nothing says what to delete; give --older-than AGE, --max-size SIZE or both")
    with _opened(options, writable=True) as store:
        if store is not None:
            count = store.prune(older_than_s=options.older_than, max_bytes=options.max_size)
            left = store.stats()
            say(pruned(count, left.responses, left.size_bytes), sys.stdout)
    return 0


def clear_store(options: argparse.Namespace) -> int:
    """Delete everything; ask first on a terminal, and raise InputError where nobody can be asked."""
    from pytest_jarvis.render.french import store as wording

    with _opened(options, writable=True) as store:
        if store is None:
            return 0
        count = store.stats().responses
        if not options.yes:
            if not sys.stdin.isatty():
                raise InputError(f"store clear: would delete {count} responses of {store.path}; say so with --yes")
            say(wording.clear_question(count, str(store.path)), sys.stdout)
            if sys.stdin.readline().strip().lower() not in wording.YES:
                say(wording.NOTHING_CLEARED, sys.stdout)
                return 1
        say(wording.cleared(store.clear()), sys.stdout)
    return 0


@contextmanager
def _opened(options: argparse.Namespace, *, writable: bool = False) -> Iterator[ResponseStore | None]:
    """Give the store; None, said, where there is none yet. Raises InputError for what is no store or fails as one."""
    from pytest_jarvis.render.french.store import absent
    from pytest_jarvis.run.store import ResponseStore

    path = _path(options)
    if not path.exists():
        say(absent(str(path)), sys.stdout)
        yield None
        return
    try:
        with closing(ResponseStore(path, writable=writable)) as store:
            yield store
    except BrokenPipeError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"{path}: the store of responses cannot be used now: {error}") from None


def _path(options: argparse.Namespace) -> Path:
    from pytest_jarvis.run.settings import store_file

    if options.store is not None:
        named: Path = options.store
        if not named.exists():
            raise InputError(f"--store {named}: no such file; leave the option out for that of the configuration")
        return named
    return store_file(configuration_of(options.jarvis_config)[0], Path())


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
