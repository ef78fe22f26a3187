"""`--jarvis-replay`: which run is scored again, what may not be asked at the same time, and which prompts it holds."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_jarvis.options import is_given
from pytest_jarvis.outputs.json import load_report
from pytest_jarvis.reading import InputError
from pytest_jarvis.recording import Recording, read_recording
from pytest_jarvis.records import TWIN_ARM, AdapterSpec, PromptCase
from pytest_jarvis.report import REPORT_FILE, Report

_DRAWING: Final[Mapping[str, str]] = {
    "jarvis_engine": "--jarvis-engine",
    "jarvis_model": "--jarvis-model",
    "jarvis_adapter": "--jarvis-adapter",
    "jarvis_aa": "--jarvis-aa",
    "jarvis_seed": "--jarvis-seed",
    "jarvis_batch_size": "--jarvis-batch-size",
    "jarvis_max_new_tokens": "--jarvis-max-new-tokens",
    "jarvis_timeout": "--jarvis-timeout",
    "jarvis_template": "--jarvis-template",
    "jarvis_tools": "--jarvis-tools",
    "jarvis_allow_partial_4bit": "--jarvis-allow-partial-4bit",
    "jarvis_allow_inert_adapter": "--jarvis-allow-inert-adapter",
    "jarvis_plain_gpu": "--jarvis-plain-gpu",
    "jarvis_reuse": "--jarvis-reuse",
    "jarvis_base_url": "--jarvis-base-url",
    "jarvis_concurrency": "--jarvis-concurrency",
}
"""The options that say how responses are drawn, by the name pytest keeps them under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A run that is scored again."""

    source: str
    """The file, as it was named."""
    sha256: str
    report: Report
    recording: Recording

    @property
    def adapters(self) -> tuple[AdapterSpec, ...]:
        """The recorded adapters, in their order; the twin of an A/A run."""
        return tuple(AdapterSpec(name=name, source=source) for name, source in self.report.metadata.adapters.items())

    @property
    def is_twin(self) -> bool:
        """Whether the run was the base against itself."""
        return TWIN_ARM in self.report.metadata.adapters

    @property
    def looks(self) -> tuple[int, ...]:
        """The looks the run was planned with."""
        return self.report.metadata.plan.looks


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMatch:
    """The prompts of today against those that were recorded, by id and text."""

    recorded: frozenset[str]
    """Ids whose responses are there."""
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    new: tuple[str, ...]


def read_replay(option: argparse.Namespace) -> Replay | None:
    """Return the run that `--jarvis-replay` names; None without the option.

    Raises InputError for a file that is no report, and for an option that says how responses are drawn: they are drawn.
    """
    if option.jarvis_replay is None:
        return None
    given = [flag for name, flag in _DRAWING.items() if is_given(getattr(option, name, None))]
    if given:
        raise InputError(f"{given[0]}: --jarvis-replay scores responses that are drawn already; leave {given[0]} out")
    file = Path(option.jarvis_replay)
    file = file / REPORT_FILE if file.is_dir() else file
    report = load_report(file)
    if not report.results:
        raise InputError(f"--jarvis-replay {file}: the report holds no response")
    recording = read_recording(report)
    if option.jarvis_samples is not None and option.jarvis_samples > recording.replicates:
        raise InputError(
            f"--jarvis-samples {option.jarvis_samples}: {file} holds {recording.replicates} responses per prompt and "
            f"arm; ask for at most {recording.replicates}"
        )
    return Replay(
        source=file.as_posix(),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        report=report,
        recording=recording,
    )


def match_prompts(replay: Replay, cases: Iterable[PromptCase]) -> PromptMatch:
    """Return which of today's cases were recorded with the same text; InputError when none was."""
    asked = replay.recording.texts
    today = {case.prompt_id: case.text for case in cases}
    recorded = frozenset(name for name, text in today.items() if asked.get(name) == text)
    if not recorded:
        raise InputError(
            f"--jarvis-replay {replay.source}: none of its {len(asked)} prompts is among those of this benchmark; "
            "name their folder with --jarvis-prompts (ids and texts must be those recorded)"
        )
    return PromptMatch(
        recorded=recorded,
        gone=tuple(name for name in asked if name not in today),
        changed=tuple(name for name in asked if name in today and name not in recorded),
        new=tuple(name for name in today if name not in asked),
    )
