"""What the options and the configuration file come to together. Knows nothing of pytest."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from pytest_jarvis.config import (
    CONFIG_FILE,
    DEMO,
    Config,
    adapter_specs,
    detected_spec,
    generation_settings,
    load_config,
    model_spec,
    refuse_names,
)
from pytest_jarvis.discovery import AUTO, Detection, detect
from pytest_jarvis.engines import ENGINES
from pytest_jarvis.prompts import packaged_prompts
from pytest_jarvis.reading import InputError, nearest
from pytest_jarvis.records import LOOKS, TWIN_ARM, AdapterSpec, GenerationSettings, ModelSpec
from pytest_jarvis.replaying import Replay, read_replay
from pytest_jarvis.report import REPORT_FILE

DEFAULT_ENGINE = "transformers"
DEFAULT_SAMPLES = 4
ADAPTER_FOLDERS = ("adapters", "outputs", "checkpoints")
"""Where `auto` looks when the configuration names no folder: what the usual trainers write to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this session does: options over file over defaults."""

    config: Config
    engine: str
    model: ModelSpec
    adapters: tuple[AdapterSpec, ...]
    """What is compared with the base; in an A/A run, the base again."""
    detections: tuple[Detection, ...]
    """What `auto` was taken to stand for."""
    twin: bool
    """Whether this is an A/A run."""
    generation: GenerationSettings
    prompts_folder: Path
    looks: tuple[int, ...]
    gate: Literal["proven", "point", "off"]
    min_gain: float
    """A share: 0.05 is 5 %."""
    inconclusive: Literal["fail", "warn"]
    require: Literal["any", "all", "first"]
    strict: bool
    write_report: bool
    report_folder: Path | None
    """Exactly this folder; None makes a new one under `reports_root`."""
    reports_root: Path
    replay: Replay | None = None
    """The run whose responses are scored again; how they were drawn is what its report says."""


def resolve(option: argparse.Namespace, root: Path) -> Settings:
    """Return the settings that options and configuration come to; raise InputError for what cannot be.

    `root` is where the configuration, the prompts and the reports of a checkout lie.
    """
    conf, file = read_configuration(option.jarvis_config, root)
    replay = read_replay(option)
    engine = "replay" if replay else option.jarvis_engine or DEFAULT_ENGINE
    if engine not in ENGINES:
        raise InputError(f"--jarvis-engine: unknown engine '{engine}'{nearest(engine, list(ENGINES))}")
    if engine == "replay" and not replay:
        raise InputError("--jarvis-engine replay: name the report to replay instead: --jarvis-replay REPORT.json")
    conf = _override(conf, option)
    adapters, detections = (replay.adapters, ()) if replay else _adapters(conf, option, file.parent)
    twin = replay.is_twin if replay else option.jarvis_aa
    benchmark = conf.benchmark
    if option.jarvis_prompts:
        prompts = Path(option.jarvis_prompts)
    elif benchmark.prompts:
        prompts = file.parent / benchmark.prompts
    else:
        local = root / "jarvis_prompts"
        prompts = local if local.is_dir() else packaged_prompts()
    folder = _report_folder(option.jarvis_report_dir)
    return Settings(
        config=conf,
        engine=engine,
        model=replay.report.provenance.model if replay else _model(conf, option, () if twin else adapters),
        adapters=adapters,
        detections=detections,
        twin=twin,
        generation=replay.report.provenance.generation if replay else _generation(conf),
        prompts_folder=prompts,
        looks=_looks(conf, option, replay, twin=twin),
        gate="off" if twin else benchmark.gate,
        min_gain=benchmark.min_gain_percent / 100,
        inconclusive=benchmark.inconclusive,
        require=option.jarvis_require,
        strict=option.jarvis_strict,
        write_report=option.jarvis_report or folder is not None,
        report_folder=folder,
        reports_root=root / conf.output.folder,
        replay=replay,
    )


def read_configuration(named: str | None, root: Path) -> tuple[Config, Path]:
    """Return the configuration of the file named, else of the one in `root`, else the defaults; and that file's path.

    Raises InputError with the place of what is wrong, and for a named file that is not there.
    """
    file = Path(named) if named else root / CONFIG_FILE
    return load_config(file) if named or file.is_file() else Config(), file


def adapter_folders(conf: Config, beside: Path) -> tuple[Path, ...]:
    """Return where `auto` looks; a relative folder is one beside the configuration file."""
    return tuple(Path(_beside(beside, folder)) for folder in conf.model.adapter_folders or ADAPTER_FOLDERS)


def _adapters(
    conf: Config, option: argparse.Namespace, beside: Path
) -> tuple[tuple[AdapterSpec, ...], tuple[Detection, ...]]:
    """Return what is compared with the base, and what was detected; a relative folder of the file is one beside it."""
    if option.jarvis_aa:
        if option.jarvis_adapter:
            raise InputError("--jarvis-aa runs the base against itself; leave --jarvis-adapter out")
        return (AdapterSpec(name=TWIN_ARM, source="base"),), ()
    specs: list[AdapterSpec] = []
    detections: list[Detection] = []
    for spec in adapter_specs(option.jarvis_adapter, conf.model, base_changed=option.jarvis_model is not None):
        if spec.source == AUTO:
            arm = None if spec.name == AUTO else spec.name
            detection = detect(adapter_folders(conf, beside), conf.model.base_model_id, arm=arm)
            detections.append(detection)
            specs.append(detected_spec(detection, str(detection.chosen.folder)))
        elif option.jarvis_adapter or spec.source.startswith(f"{DEMO}:"):
            specs.append(spec)
        else:
            specs.append(replace(spec, source=_beside(beside, spec.source)))
    refuse_names(tuple(specs))
    return tuple(specs), tuple(detections)


def _beside(folder: Path, source: str) -> str:
    """Return a relative path of the configuration as one from here; relative still, where that is possible."""
    path = folder / Path(source).expanduser()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _looks(conf: Config, option: argparse.Namespace, replay: Replay | None, *, twin: bool) -> tuple[int, ...]:
    """Return the looks: a fixed count, those recorded, or what the gate wants.

    A replay keeps the recorded ones whatever the file says. Greedy decoding says everything in one response.
    """
    if replay:
        return (option.jarvis_samples,) if option.jarvis_samples else replay.looks
    if conf.benchmark.samples:
        return (conf.benchmark.samples,)
    if not conf.generation.do_sample or conf.generation.temperature == 0:
        return (1,)
    return LOOKS if conf.benchmark.gate == "proven" and not twin else (DEFAULT_SAMPLES,)


def _override(conf: Config, option: argparse.Namespace) -> Config:
    """Return the configuration with what the command line says of the same things."""
    change = msgspec.structs.replace

    def given(**values: object) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    timeout = given(timeout_s=option.jarvis_timeout)
    if timeout.get("timeout_s") == 0:
        timeout = {"timeout_s": None}
    return change(
        conf,
        model=change(conf.model, **given(base_model_id=option.jarvis_model)),
        generation=change(
            conf.generation,
            **given(
                seed=option.jarvis_seed,
                batch_size=option.jarvis_batch_size,
                max_new_tokens=option.jarvis_max_new_tokens,
                template=option.jarvis_template,
            ),
            **timeout,
        ),
        benchmark=change(
            conf.benchmark,
            **given(
                samples=option.jarvis_samples,
                gate=option.jarvis_gate,
                min_gain_percent=option.jarvis_min_gain,
                inconclusive=option.jarvis_inconclusive,
            ),
        ),
    )


def _model(conf: Config, option: argparse.Namespace, adapters: tuple[AdapterSpec, ...]) -> ModelSpec:
    return replace(
        model_spec(conf.model, conf.generation, adapters),
        allow_partial_4bit=option.jarvis_allow_partial_4bit,
        allow_inert_adapter=option.jarvis_allow_inert_adapter,
    )


def _generation(conf: Config) -> GenerationSettings:
    return generation_settings(conf.generation)


def _report_folder(named: str | None) -> Path | None:
    if named is None:
        return None
    folder = Path(named)
    if (folder / REPORT_FILE).exists():
        raise InputError(f"--jarvis-report-dir: {folder} already holds a report; name a new folder")
    nearest_existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest_existing.is_dir():
        raise InputError(f"--jarvis-report-dir: {nearest_existing} is a file; name a folder")
    if not os.access(nearest_existing, os.W_OK):
        raise InputError(f"--jarvis-report-dir: {nearest_existing} cannot be written to; name another folder")
    return folder
