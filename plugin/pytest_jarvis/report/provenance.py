"""Provenance of a run: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pytest_jarvis.report.schema import Machine

_LIBRARIES = ("pytest-jarvis", "pytest", "numpy", "scipy", "scikit-learn")
_GIT_TIMEOUT_S = 10


def versions(engine: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of Python, of the libraries that score, and of the engine's libraries."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, **engine}


def machine() -> Machine:
    """Return the type of this machine; nothing that identifies it or its user, so no kernel release either."""
    return Machine(
        system=platform.system(),
        processor=platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
    )


def commit(folder: Path, reports: Path | None = None) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout at `folder` and whether files differ from it; None without git.

    Changes below `reports` do not count: earlier runs wrote them.
    """
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None, None
    but: tuple[str, ...] = ()
    if reports is not None and reports != folder and reports.is_relative_to(folder):
        but = (f":(exclude,literal){reports.relative_to(folder).as_posix()}",)
    changes = _git(folder, "status", "--porcelain", "--", ":/", *but)
    return head, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments
            ["git", *arguments],  # noqa: S607  # git is looked up as a user's shell does
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
