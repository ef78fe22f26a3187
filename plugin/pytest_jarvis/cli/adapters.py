"""`pytest-jarvis adapters`: the LoRA adapters that lie in some folders, and what is wrong with the others."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import configuration_of, say
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.cli.common import Commands
    from pytest_jarvis.inputs.adapters import FoundAdapter


def add(commands: Commands) -> None:
    """Declare the command."""
    command = commands.add_parser("adapters", help="list the LoRA adapters that are in folders, the newest first")
    command.add_argument(
        "folders", metavar="DIR", type=Path, nargs="*", help="where to look (default: the configured folders)"
    )
    command.add_argument(
        "--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json of this folder)"
    )
    command.add_argument("--json", action="store_true", help="print a JSON list instead")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return list_adapters(options.folders or _configured(options), as_json=options.json, named=bool(options.folders))


def list_adapters(folders: Sequence[Path], *, as_json: bool, named: bool = True) -> int:
    """Print every adapter under the folders; raise InputError for one that was `named` and is not there."""
    from pytest_jarvis.inputs.adapters import files_digest, find_adapters
    from pytest_jarvis.render.french.adapters import list_lines

    for folder in folders:
        if named and not folder.is_dir():
            raise InputError(f"adapters: {folder}: no such folder; name one that holds adapters")
    found = find_adapters(folders)
    digests = {adapter.folder: files_digest(*adapter.files) for adapter in found if adapter.problem is None}
    if as_json:
        rows = [_row(adapter, digests.get(adapter.folder)) for adapter in found]
        say(json.dumps(rows, ensure_ascii=False, indent=1), sys.stdout)
        return 0
    absent = [folder for folder in folders if not folder.is_dir()]
    for line in list_lines(found, digests, folders, absent):
        say(line, sys.stdout)
    return 0


def _configured(options: argparse.Namespace) -> tuple[Path, ...]:
    from pytest_jarvis.run.settings import adapter_folders

    conf, file = configuration_of(options.jarvis_config)
    return adapter_folders(conf, file.parent)


def _row(adapter: FoundAdapter, digest: str | None) -> dict[str, object]:
    return {
        "name": adapter.name,
        "folder": str(adapter.folder),
        "usable": adapter.problem is None,
        "problem": adapter.problem,
        "broken_at": adapter.broken_at,
        "fault": None if adapter.fault is None else str(adapter.fault),
        "base": adapter.base,
        "rank": adapter.rank,
        "targets": list(adapter.targets),
        "parameters": adapter.parameters,
        "size_bytes": adapter.size_bytes,
        "modified": datetime.fromtimestamp(adapter.modified_s, tz=UTC).isoformat(),
        "sha256": digest,
    }
