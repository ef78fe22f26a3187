"""What the options and the configuration file come to together. Knows nothing of pytest."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

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
from pytest_jarvis.discovery import AUTO, Detection, arm_name, detect
from pytest_jarvis.engines import ENGINES
from pytest_jarvis.options import is_given
from pytest_jarvis.prompts import packaged_prompts
from pytest_jarvis.reading import InputError, convert, nearest, read_json
from pytest_jarvis.records import LOOKS, TWIN_ARM, AdapterSpec, GenerationSettings, ModelSpec
from pytest_jarvis.serving import refuse_addresses, server_spec

if TYPE_CHECKING:
    from pytest_jarvis.references import Against
    from pytest_jarvis.replaying import Replay

DEFAULT_ENGINE = "transformers"
DEFAULT_SAMPLES = 4
ADAPTER_FOLDERS = ("adapters", "outputs", "checkpoints")
"""Where `auto` looks when the configuration names no folder: what the usual trainers write to."""
SERVER = "server"


OPTION_KEYS: Final[dict[str, tuple[str, str]]] = {
    "jarvis_model": ("model", "base_model_id"),
    "jarvis_base_url": ("model", "base_url"),
    "jarvis_concurrency": ("model", "concurrency"),
    "jarvis_allow_partial_4bit": ("model", "allow_partial_4bit"),
    "jarvis_allow_inert_adapter": ("model", "allow_inert_adapter"),
    "jarvis_plain_gpu": ("model", "plain_gpu"),
    "jarvis_seed": ("generation", "seed"),
    "jarvis_batch_size": ("generation", "batch_size"),
    "jarvis_max_new_tokens": ("generation", "max_new_tokens"),
    "jarvis_template": ("generation", "template"),
    "jarvis_tools": ("generation", "tools"),
    "jarvis_timeout": ("generation", "timeout_s"),
    "jarvis_samples": ("benchmark", "samples"),
    "jarvis_gate": ("benchmark", "gate"),
    "jarvis_min_gain": ("benchmark", "min_gain_percent"),
    "jarvis_inconclusive": ("benchmark", "inconclusive"),
    "jarvis_require": ("benchmark", "require"),
    "jarvis_strict": ("benchmark", "strict"),
}
"""Option -> section and key of the configuration that it overrides as it stands."""
_OTHER_KEYS: Final[dict[str, tuple[str, str]]] = {
    "jarvis_adapter": ("model", "adapters"),
    "jarvis_prompts": ("benchmark", "prompts"),
    "jarvis_training_data": ("benchmark", "training_data"),
}
"""The same for options whose value is written otherwise than in the file."""


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
    training_data: tuple[Path, ...]
    """Files in which the prompts are looked for."""
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
    run_name: str
    """What that new folder is called; `{time}` is still to be filled in."""
    takes_responses: bool
    """Whether responses of earlier runs are taken from the store."""
    keeps_responses: bool
    """Whether responses are written to it; those of a replay are another run's."""
    store_file: Path
    replay: Replay | None = None
    """The run whose responses are scored again; how they were drawn is what its report says."""
    against: Against | None = None
    """The run that the candidate is held against."""


def resolve(option: argparse.Namespace, root: Path) -> Settings:
    """Return the settings that options and configuration come to; raise InputError for what cannot be.

    `root` is where the configuration, the prompts and the reports of a checkout lie.
    """
    conf, file = read_configuration(option.jarvis_config, root)
    replay = _replay(option)
    engine = "replay" if replay else option.jarvis_engine or DEFAULT_ENGINE
    if engine not in ENGINES:
        raise InputError(f"--jarvis-engine: unknown engine '{engine}'{nearest(engine, list(ENGINES))}")
    if engine == "replay" and not replay:
        raise InputError("--jarvis-engine replay: name the report to replay instead: --jarvis-replay REPORT.json")
    conf = override(conf, option)
    if option.jarvis_base_url is not None and engine != SERVER:
        raise InputError(f"--jarvis-base-url: the engine '{engine}' asks no server; add --jarvis-engine {SERVER}")
    if not replay and conf.generation.tools:
        _refuse_toolless(conf, engine)
    adapters, detections = (replay.adapters, ()) if replay else resolve_adapters(conf, option, file.parent)
    twin = replay.is_twin if replay else option.jarvis_aa
    benchmark = conf.benchmark
    folder = _report_folder(option.jarvis_report_dir)
    written = option.jarvis_report or folder is not None
    if option.jarvis_strict and not written:
        raise InputError("--jarvis-strict: nothing is judged without a report; add --jarvis-report")
    if written and folder is None:
        _refuse_unwritable(root / conf.output.folder, "output.folder of the configuration")
    return Settings(
        config=conf,
        engine=engine,
        model=replay.report.provenance.model if replay else _model(conf, engine, () if twin else adapters),
        adapters=adapters,
        detections=detections,
        twin=twin,
        generation=replay.report.provenance.generation if replay else generation_settings(conf.generation),
        prompts_folder=resolve_prompts(conf, option, file.parent, root),
        training_data=tuple(Path(name) for name in option.jarvis_training_data)
        or tuple(file.parent / name for name in benchmark.training_data),
        looks=_looks(conf, option, replay, twin=twin),
        gate="off" if twin else benchmark.gate,
        min_gain=benchmark.min_gain_percent / 100,
        inconclusive=benchmark.inconclusive,
        require=benchmark.require,
        strict=benchmark.strict,
        write_report=written,
        report_folder=folder,
        reports_root=root / conf.output.folder,
        run_name=_run_name(conf, adapters[0].name),
        replay=replay,
        takes_responses=option.jarvis_reuse and not replay,
        keeps_responses=written and not replay,
        store_file=store_file(conf, root),
        against=_against(option, root / conf.output.folder, twin=twin, written=written),
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


def resolve_prompts(conf: Config, option: argparse.Namespace, beside: Path, root: Path) -> Path:
    """Return the folder of prompts: the option's, the file's, the checkout's own, else the package's."""
    if option.jarvis_prompts:
        return Path(option.jarvis_prompts)
    if conf.benchmark.prompts:
        return beside / conf.benchmark.prompts
    local = root / "jarvis_prompts"
    return local if local.is_dir() else packaged_prompts()


def _model(conf: Config, engine: str, adapters: tuple[AdapterSpec, ...]) -> ModelSpec:
    """Return what the engine needs; how a server holds its weights is not ours to ask for."""
    spec = model_spec(conf, adapters)
    return replace(spec, server=server_spec(conf.model), quantization=None) if engine == SERVER else spec


def resolve_adapters(
    conf: Config, option: argparse.Namespace, beside: Path
) -> tuple[tuple[AdapterSpec, ...], tuple[Detection, ...]]:
    """Return what is compared with the base, and what was detected; a relative folder of the file is one beside it.

    With a server, what is named is what it serves: no folder, and nothing to detect.
    """
    if option.jarvis_aa:
        if option.jarvis_adapter:
            raise InputError("--jarvis-aa runs the base against itself; leave --jarvis-adapter out")
        return (AdapterSpec(name=TWIN_ARM, source="base"),), ()
    named = adapter_specs(option.jarvis_adapter, conf.model, base_changed=option.jarvis_model is not None)
    if option.jarvis_engine == SERVER:
        return named, ()
    specs: list[AdapterSpec] = []
    detections: list[Detection] = []
    for spec in named:
        if spec.source == AUTO:
            arm = None if spec.name == AUTO else spec.name
            detection = _detect(adapter_folders(conf, beside), conf.model.base_model_id, arm)
            detections.append(detection)
            specs.append(detected_spec(detection, str(detection.chosen.folder)))
        elif option.jarvis_adapter or spec.source.startswith(f"{DEMO}:"):
            specs.append(spec)
        else:
            specs.append(replace(spec, source=_beside(beside, spec.source)))
    refuse_names(tuple(specs))
    return tuple(specs), tuple(detections)


def _detect(folders: tuple[Path, ...], base: str, arm: str | None) -> Detection:
    """Return which adapter `auto` stands for; what knows of bases is imported for it alone."""
    from pytest_jarvis.base_files import fits_base

    return detect(folders, base, arm=arm, fits=fits_base)


def _run_name(conf: Config, adapter: str) -> str:
    model = arm_name(Path(conf.model.base_model_id)) or "model"
    return conf.output.run_name.replace("{model}", model).replace("{adapter}", adapter)


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
    if generation_settings(conf.generation).is_greedy:
        return (1,)
    return conf.benchmark.looks or LOOKS if conf.benchmark.gate == "proven" and not twin else (DEFAULT_SAMPLES,)


def store_file(conf: Config, root: Path) -> Path:
    """Return where the store of responses of a checkout is."""
    return root / Path(conf.output.store).expanduser()


def _refuse_toolless(conf: Config, engine: str) -> None:
    """Raise InputError where tools are on and could not reach the model: no call would then say nothing of it."""
    if conf.generation.template == "raw":
        raise InputError("--jarvis-tools (generation.tools): the template 'raw' offers no tool; use 'chat'")
    if engine == SERVER:
        raise InputError(
            f"--jarvis-tools (generation.tools): the engine '{SERVER}' offers no tools yet; leave the option out, or "
            f"use --jarvis-engine {DEFAULT_ENGINE}"
        )


def override(conf: Config, option: argparse.Namespace) -> Config:
    """Return the configuration with what the command line says of the same things; raise InputError as a file would.

    An address that holds a key is refused here, whatever the engine.
    """
    for name, (section, key) in OPTION_KEYS.items():
        value = getattr(option, name)
        if not is_given(value):
            continue
        if name == "jarvis_timeout" and value == 0:
            value = None
        part = getattr(conf, section)
        # Read as the file is, so that what the file may not say, the option may not either.
        convert({key: value}, type(part), flag(name))
        conf = msgspec.structs.replace(conf, **{section: msgspec.structs.replace(part, **{key: value})})
    # Here, where every command passes by: what it makes of the configuration is printed.
    refuse_addresses(conf.model)
    return conf


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One value of the configuration, and where it comes from."""

    section: str
    key: str
    value: object
    """As the file would have it."""
    kind: Literal["option", "file", "default"]
    by: str | None
    """The option, or the file's path."""


def origins(option: argparse.Namespace, root: Path) -> list[Origin]:
    """Return every value that options, file and defaults come to, in the order of the sections and their keys."""
    conf, file = read_configuration(option.jarvis_config, root)
    written = read_json(file, dict) if option.jarvis_config or file.is_file() else {}
    by_option = {place: flag(name) for name, place in OPTION_KEYS.items() if is_given(getattr(option, name))}
    by_option |= {place: flag(name) for name, place in _OTHER_KEYS.items() if is_given(getattr(option, name))}
    values = msgspec.to_builtins(override(conf, option))
    if option.jarvis_adapter:
        values["model"]["adapters"] = option.jarvis_adapter
    if option.jarvis_prompts:
        values["benchmark"]["prompts"] = option.jarvis_prompts
    if option.jarvis_training_data:
        values["benchmark"]["training_data"] = option.jarvis_training_data
    found: list[Origin] = []
    for section, keys in values.items():
        for key, value in keys.items() if isinstance(keys, dict) else ():
            kind: Literal["option", "file", "default"] = "default"
            by = by_option.get((section, key))
            if by is not None:
                kind = "option"
            elif key in written.get(section, {}):
                kind, by = "file", str(file)
            found.append(Origin(section=section, key=key, value=value, kind=kind, by=by))
    return found


def flag(name: str) -> str:
    """Return an option as it is typed: `--jarvis-seed` for `jarvis_seed`."""
    return f"--{name.replace('_', '-')}"


def _replay(option: argparse.Namespace) -> Replay | None:
    """Return the run to score again. What reads reports is imported for it alone: collecting must cost nothing."""
    if option.jarvis_replay is None:
        return None
    from pytest_jarvis.replaying import read_replay

    return read_replay(option)


def _against(option: argparse.Namespace, reports: Path, *, twin: bool, written: bool) -> Against | None:
    """Return what the run is held to; imported late for the same reason."""
    if option.jarvis_compare is None and not option.jarvis_fail_on_regression:
        return None
    from pytest_jarvis.references import read_against

    return read_against(option, reports, twin=twin, written=written)


def _report_folder(named: str | None) -> Path | None:
    if named is None:
        return None
    from pytest_jarvis.report import REPORT_FILE

    folder = Path(named)
    if (folder / REPORT_FILE).exists():
        raise InputError(f"--jarvis-report-dir: {folder} already holds a report; name a new folder")
    _refuse_unwritable(folder, "--jarvis-report-dir")
    return folder


def _refuse_unwritable(folder: Path, named_by: str) -> None:
    """Raise InputError where no report can be written: known before a model is loaded."""
    from pytest_jarvis.surroundings import nearest_existing

    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise InputError(f"{named_by}: {nearest} is a file; name a folder")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"{named_by}: {nearest} cannot be written to; name another folder")
