"""`pytest-jarvis adapters`: list the LoRA adapters under folders, and why some cannot be used."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_jarvis.cli.common import Commands, add_configuration_option, load_configuration, print_json, print_lines
from pytest_jarvis.files import InputError

if TYPE_CHECKING:
    from pytest_jarvis.inputs.adapters import FoundAdapter


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("adapters", help="list the LoRA adapters under folders, newest first")
    command.add_argument(
        "folders", metavar="DIR", type=Path, nargs="*", help="where to look (default: the configured folders)"
    )
    add_configuration_option(command)
    command.add_argument("--json", action="store_true", help="print a JSON list instead")
    command.set_defaults(run=list_adapters)


def list_adapters(options: argparse.Namespace) -> int:
    """Print every adapter under the folders; raise InputError for a folder of the command line that does not exist."""
    from pytest_jarvis.inputs.adapters import files_digest, find_adapters
    from pytest_jarvis.render.french.notes import list_lines
    from pytest_jarvis.run.settings import adapter_folders

    folders = options.folders
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"adapters: {folder}: no such folder; name one that holds adapters")
    if not folders:
        conf, file = load_configuration(options.jarvis_config)
        folders = adapter_folders(conf, file.parent)
    found = find_adapters(folders)
    digests = {adapter.folder: files_digest(*adapter.files) for adapter in found if adapter.problem is None}
    if options.json:
        print_json([_row(adapter, digests.get(adapter.folder)) for adapter in found])
    else:
        print_lines(list_lines(found, digests, folders, [folder for folder in folders if not folder.is_dir()]))
    return 0


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
