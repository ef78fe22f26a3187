"""`pytest-jarvis history`: the saved runs and the trend of their gains."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import configuration_of, say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands
    from pytest_jarvis.report.history import Series


def add(commands: Commands) -> None:
    """Declare the command."""
    command = commands.add_parser("history", help="list the saved runs and draw the trend of their gains")
    command.add_argument(
        "folder", metavar="DIR", type=Path, nargs="?", help="folder of the reports (default: the configured one)"
    )
    command.add_argument("--png", metavar="FILE", type=Path, help="draw the trend in this file as well")
    command.add_argument("--json", action="store_true", help="print a JSON document instead")
    command.set_defaults(run=lambda options: history(options.folder, png=options.png, as_json=options.json))


def history(folder: Path | None, *, png: Path | None, as_json: bool) -> int:
    """Print every run under the folder, the trend, and which reports are damaged; InputError for no such folder."""
    from pytest_jarvis.render.french import history as wording
    from pytest_jarvis.render.history import history_lines

    if folder is None:
        conf, _ = configuration_of(None)
        folder = Path(conf.output.folder)
    if not folder.is_dir():
        raise InputError(f"history: {folder}: no such folder; name the one that holds the reports")
    series, damaged = read_series(folder)
    if as_json:
        say(json.dumps(_document(series, damaged), ensure_ascii=False, indent=1), sys.stdout)
    else:
        for line in history_lines(series, str(folder)):
            say(line, sys.stdout)
        for sentence in damaged:
            say(wording.skipped(sentence), sys.stderr)
    if png is not None:
        _draw(series, png)
        say(wording.written(str(png)), sys.stderr if as_json else sys.stdout)
    return 0


def read_series(folder: Path) -> tuple[tuple[Series, ...], list[str]]:
    """Return the runs of a folder in series, and what is wrong with each report that cannot be read."""
    from pytest_jarvis.report.history import history_entries, series_of
    from pytest_jarvis.report.saved_runs import current_baseline, saved_runs

    baseline = current_baseline(folder)
    baseline_sha256 = baseline.sha256 if baseline else None
    runs, damaged = [], []
    for run in saved_runs(folder):
        if isinstance(run, InputError):
            damaged.append(str(run))
            continue
        entries = history_entries(run.report, run.path.as_posix(), run.sha256, baseline_sha256=baseline_sha256)
        runs.append((entries, run.report))
    return series_of(runs), damaged


def _draw(series: tuple[Series, ...], png: Path) -> None:
    from pytest_jarvis.files import write_atomically
    from pytest_jarvis.render.charts.history import history_png

    try:
        write_atomically(png, history_png(series))
    except OSError as error:
        raise InputError(f"--png {png}: cannot be written: {error.strerror or error}") from None


def _document(series: tuple[Series, ...], damaged: list[str]) -> dict[str, object]:
    import msgspec

    return {"series": [msgspec.to_builtins(one) for one in series], "damaged": damaged}
