"""The settings of a session: options over configuration file over defaults."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec.structs import replace

from pytest_jarvis.engines import find_engine
from pytest_jarvis.files import InputError, convert, read_json
from pytest_jarvis.inputs.config import (
    AUTO,
    CONFIG_FILE,
    DEMO,
    Config,
    GenerationSection,
    ModelSection,
    arm_name,
    load_config,
    normalize_addresses,
    resolve_server,
)
from pytest_jarvis.inputs.options import options_in
from pytest_jarvis.inputs.prompts import further_prompts, load_prompts, packaged_prompts
from pytest_jarvis.types import (
    BASE_ARM,
    LOOKS,
    TWIN_ARM,
    AdapterSpec,
    GatePlan,
    Generation,
    GenerationSettings,
    Model,
    ModelSpec,
)

if TYPE_CHECKING:
    from pytest_jarvis.engines.base import EngineKind
    from pytest_jarvis.inputs.adapters import Detection
    from pytest_jarvis.report.saved_runs import RegressionBaseline
    from pytest_jarvis.run.replay import Replay


DEFAULT_ENGINE: Final = "transformers"
DEFAULT_SAMPLES = 4
DEMO_ADAPTER = "demo:jarvis"
_ADAPTER_NAME = re.compile(r"[^\W_][\w-]*")  # peft keeps names such as `__base__` to itself
_SEPARATOR = re.compile(r"[/\\]")
ADAPTER_FOLDERS = ("adapters", "outputs", "checkpoints")
"""Folders that `auto` searches by default: those that the usual trainers write to."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a session."""

    config: Config
    engine: str
    """Name of the engine; `replay` for the responses of a saved report."""
    kind: EngineKind
    model: ModelSpec
    adapters: tuple[AdapterSpec, ...]
    """The adapters to compare with the base; in an A/A run, its twin."""
    detections: tuple[Detection, ...]
    """The adapters that `auto` found."""
    twin: bool
    """Whether this is an A/A run."""
    generation: GenerationSettings
    prompts_folder: Path
    training_data: tuple[Path, ...]
    """Files to search for the prompts."""
    gate: GatePlan
    write_report: bool
    report_folder: Path | None
    """The report's folder; None for a new one under `reports_root`."""
    reports_root: Path
    run_name: str
    """Name of that new folder, with `{time}` not yet filled in."""
    reads_store: bool
    """Whether to reuse stored responses of earlier runs."""
    writes_store: bool
    """Whether to store responses; those of a replay are another run's."""
    store_path: Path
    replay: Replay | None = None
    """The run to score again, with its settings of generation, or answers made elsewhere."""
    baseline: RegressionBaseline | None = None
    """The run to test the candidate against."""


def resolve(option: argparse.Namespace, root: Path) -> Settings:
    """Return the settings of `root`, the folder of configuration, prompts and reports; InputError for invalid ones."""
    conf, file = read_configuration(option.jarvis_config, root)
    conf = override(conf, option)
    prompts_folder = resolve_prompts(conf, option, file.parent, root)
    replay = _read_replay(option, conf, prompts_folder)
    kind = replay.kind if replay else find_engine_kind(option)
    if option.jarvis_base_url is not None and not kind.asks_server:
        engine = option.jarvis_engine or DEFAULT_ENGINE
        raise InputError(f"--jarvis-base-url: the engine '{engine}' asks no server; add --jarvis-engine server")
    if not replay and conf.generation.template == "adapter" and kind.asks_server:
        raise InputError("--jarvis-template adapter: a server applies a template of its own; use 'chat' or 'raw'")
    if not replay and conf.generation.tools:
        _refuse_toolless(conf, kind, option.jarvis_engine)
    adapters, detections = (replay.adapters, ()) if replay else resolve_adapters(conf, option, file.parent, kind)
    twin = replay.is_twin if replay else option.jarvis_aa
    generation = replay.generation if replay else resolve_generation(conf.generation)
    model = replay.model if replay else resolve_model(conf, kind, () if twin else adapters)
    folder = _check_report_folder(option.jarvis_report_dir)
    written = option.jarvis_report or folder is not None
    if option.jarvis_strict and not written:
        raise InputError("--jarvis-strict: nothing is judged without a report; add --jarvis-report")
    if written and folder is None:
        _refuse_unwritable(root / conf.output.folder, "output.folder of the configuration")
    return Settings(
        config=conf,
        engine="replay" if replay else option.jarvis_engine or DEFAULT_ENGINE,
        kind=kind,
        model=model,
        adapters=adapters,
        detections=detections,
        twin=twin,
        generation=generation,
        prompts_folder=prompts_folder,
        training_data=tuple(Path(name) for name in option.jarvis_training_data)
        or tuple(file.parent / name for name in conf.benchmark.training_data),
        gate=_resolve_gate(conf, option, replay, generation, twin=twin),
        write_report=written,
        report_folder=folder,
        reports_root=root / conf.output.folder,
        run_name=_fill_run_name(conf.output.run_name, model.base_model_id, adapters[0].name),
        replay=replay,
        reads_store=option.jarvis_reuse and not replay,
        writes_store=written and not replay,
        store_path=store_path(conf, root),
        baseline=_read_baseline(option, root / conf.output.folder, twin=twin, written=written),
    )


def read_configuration(named: str | None, root: Path) -> tuple[Config, Path]:
    """Return the named configuration, else that in `root` or defaults, and its path; InputError for a bad file."""
    file = Path(named) if named else root / CONFIG_FILE
    # A broken link or a folder in its place is no default: it is refused when it is read.
    return load_config(file) if named or os.path.lexists(file) else Config(), file


def adapter_folders(conf: Config, beside: Path) -> tuple[Path, ...]:
    """Return the folders that `auto` searches; relative ones start from the configuration's folder `beside`."""
    return tuple(Path(_join_path(beside, folder)) for folder in conf.model.adapter_folders or ADAPTER_FOLDERS)


def resolve_prompts(conf: Config, option: argparse.Namespace, beside: Path, root: Path) -> Path:
    """Return the folder of prompts: that of the option, the configuration, the checkout or the package."""
    if option.jarvis_prompts:
        return Path(option.jarvis_prompts)
    if conf.benchmark.prompts:
        return beside / conf.benchmark.prompts
    local = root / "jarvis_prompts"
    return local if os.path.lexists(local) else packaged_prompts()


def find_engine_kind(option: argparse.Namespace) -> EngineKind:
    """Return the kind of the configured engine; raise InputError for an unknown one."""
    if option.jarvis_engine == "replay":
        raise InputError("--jarvis-engine replay: name the report to replay instead: --jarvis-replay REPORT.json")
    return find_engine(option.jarvis_engine or DEFAULT_ENGINE)


def resolve_model(conf: Config, kind: EngineKind, adapters: tuple[AdapterSpec, ...]) -> ModelSpec:
    """Return the model that the engine loads; without an address unless it is a server."""
    section = resolve_server(conf.model) if kind.asks_server else replace(conf.model, base_url=None)
    shared = {name: getattr(section, name) for name in Model.__struct_fields__}
    return ModelSpec(**shared, adapters=adapters, log_level=conf.logging.level)


def resolve_adapters(
    conf: Config, option: argparse.Namespace, beside: Path, kind: EngineKind
) -> tuple[tuple[AdapterSpec, ...], tuple[Detection, ...]]:
    """Return the adapters, relative to `beside`, and those that `auto` found; with a server, names it serves."""
    if option.jarvis_aa:
        if option.jarvis_adapter:
            raise InputError("--jarvis-aa runs the base against itself; leave --jarvis-adapter out")
        return (AdapterSpec(name=TWIN_ARM, source="base"),), ()
    named = parse_adapters(option.jarvis_adapter, conf.model, base_changed=option.jarvis_model is not None)
    if kind.asks_server:
        return named, ()
    specs: list[AdapterSpec] = []
    detections: list[Detection] = []
    for spec in named:
        if spec.source == AUTO:
            from pytest_jarvis.inputs.adapters import detect

            arm = None if spec.name == AUTO else spec.name
            detection = detect(adapter_folders(conf, beside), conf.model.base_model_id, arm=arm)
            detections.append(detection)
            specs.append(detected_adapter(detection, str(detection.chosen.folder)))
        elif option.jarvis_adapter or spec.source.startswith(f"{DEMO}:"):
            specs.append(spec)
        else:
            specs.append(replace(spec, source=_join_path(beside, spec.source)))
    check_adapter_names(tuple(specs))
    return tuple(specs), tuple(detections)


def _fill_run_name(pattern: str, base: str, adapter: str) -> str:
    return pattern.replace("{model}", arm_name(Path(base)) or "model").replace("{adapter}", adapter)


def _join_path(folder: Path, source: str) -> str:
    path = folder / Path(source).expanduser()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _resolve_gate(
    conf: Config, option: argparse.Namespace, replay: Replay | None, generation: GenerationSettings, *, twin: bool
) -> GatePlan:
    """Return the rules of the gate, which does not judge an A/A run."""
    asked = conf.benchmark
    return GatePlan(
        policy="off" if twin else asked.gate,
        min_gain=asked.min_gain_percent / 100,
        primary=asked.primary,
        min_done_gain=asked.min_done_gain,
        alpha=asked.alpha,
        looks=_resolve_looks(conf, option, replay, twin=twin),
        require=asked.require,
        strict=asked.strict,
        inconclusive=asked.inconclusive,
        unjudged=asked.unjudged,
        max_failure_share=asked.max_failure_share,
        shared_noise=replay.shared_noise if replay else not twin,
        deterministic=generation.is_greedy,
    )


def _resolve_looks(conf: Config, option: argparse.Namespace, replay: Replay | None, *, twin: bool) -> tuple[int, ...]:
    """Return the looks: those of a replay, a fixed count, or those of the gate; one response with greedy decoding."""
    if replay:
        return (option.jarvis_samples,) if option.jarvis_samples else replay.looks
    if conf.benchmark.samples:
        return (conf.benchmark.samples,)
    if conf.generation.is_greedy:
        return (1,)
    return conf.benchmark.looks or LOOKS if conf.benchmark.gate == "proven" and not twin else (DEFAULT_SAMPLES,)


def store_path(conf: Config, root: Path) -> Path:
    """Return the path of a checkout's store."""
    return root / Path(conf.output.store).expanduser()


def _refuse_toolless(conf: Config, kind: EngineKind, engine: str) -> None:
    if conf.generation.template == "raw":
        raise InputError("--jarvis-tools (generation.tools): the template 'raw' offers no tool; use 'chat'")
    if not kind.offers_tools:
        raise InputError(
            f"--jarvis-tools (generation.tools): the engine '{engine}' offers no tools yet; leave the option out, or "
            f"use --jarvis-engine {DEFAULT_ENGINE}"
        )


def override(conf: Config, option: argparse.Namespace) -> Config:
    """Return the configuration with the options' values; raise InputError for what a file may not hold either."""
    for one, value in options_in(option):
        if one.key is None or not one.verbatim:
            continue
        section, _, key = one.key.partition(".")
        part = getattr(conf, section)
        changed = {key: None if one.flag == "--jarvis-timeout" and value == 0 else value}
        convert(changed, type(part), one.flag)
        conf = replace(conf, **{section: replace(part, **changed)})
    # Here, for every command: the configuration is printed, and an address may hold a key.
    normalize_addresses(conf.model)
    return conf


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Source of one value of the configuration."""

    section: str
    key: str
    value: object
    """As in the file."""
    kind: Literal["option", "file", "default"]
    by: str | None
    """The option, or the file's path."""


def origins(option: argparse.Namespace, root: Path) -> list[Origin]:
    """Return the source of every value, in the order of sections and keys."""
    conf, file = read_configuration(option.jarvis_config, root)
    written = read_json(file, dict) if os.path.lexists(file) else {}
    values = msgspec.to_builtins(override(conf, option))
    by_option: dict[tuple[str, str], str] = {}
    for one, value in options_in(option):
        if one.key is not None:
            section, _, key = one.key.partition(".")
            by_option[section, key] = one.flag
            if not one.verbatim:
                values[section][key] = value
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


def _read_replay(option: argparse.Namespace, conf: Config, prompts: Path) -> Replay | None:
    """Return the responses to score; import the reader of reports for them alone, so that collecting costs nothing."""
    if option.jarvis_replay is None and option.jarvis_answers is None:
        return None
    from pytest_jarvis.run.replay import read_replay, replay_answers

    if option.jarvis_replay is not None:
        return read_replay(option)
    further = further_prompts(tools=False, guards=conf.benchmark.guards)
    return replay_answers(option, load_prompts(prompts, add=further).cases)


def _check_report_folder(named: str | None) -> Path | None:
    if named is None:
        return None
    from pytest_jarvis.report.schema import REPORT_FILE

    folder = Path(named)
    if (folder / REPORT_FILE).exists():
        raise InputError(f"--jarvis-report-dir: {folder} already holds a report; name a new folder")
    _refuse_unwritable(folder, "--jarvis-report-dir")
    return folder


def _refuse_unwritable(folder: Path, named_by: str) -> None:
    """Raise InputError for a folder that cannot be written to, before a model is loaded."""
    from pytest_jarvis.files import nearest_existing

    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise InputError(f"{named_by}: {nearest} is a file; name a folder")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"{named_by}: {nearest} cannot be written to; name another folder")


def resolve_generation(section: GenerationSection) -> GenerationSettings:
    """Return the engine's generation settings, without the tools, which are read later."""
    return GenerationSettings(**{name: getattr(section, name) for name in Generation.__struct_fields__})


def parse_adapters(named: list[str], section: ModelSection, *, base_changed: bool = False) -> tuple[AdapterSpec, ...]:
    """Return the adapters of the command line (`PATH` or `NAME=PATH`), else of the file, else the embedded one.

    The file's adapters belong to its base: they are ignored when the command line names another (`base_changed`). The
    source, and an unnamed adapter's name, may be `auto`, which `detected_adapter` replaces. Raises InputError for an
    invalid or repeated name, and for a real base without an adapter.
    """
    where = "--jarvis-adapter"
    if named:
        specs = tuple(_parse_adapter(text) for text in named)
    elif isinstance(section.adapters, dict) and section.adapters and not base_changed:
        where = "model.adapters of the configuration"
        specs = tuple(
            _make_adapter(name, source, where, f"{name}={source}") for name, source in section.adapters.items()
        )
    elif section.adapters == AUTO or section.adapter_folders is not None:
        specs = (AdapterSpec(name=AUTO, source=AUTO),)
    elif section.base_model_id == DEMO:
        specs = (_parse_adapter(DEMO_ADAPTER),)
    else:
        raise InputError(
            f"base model {section.base_model_id}: there is no adapter to compare it with; "
            "give one with --jarvis-adapter PATH (or auto) or in model.adapters of the configuration"
        )
    check_adapter_names(specs, where)
    return specs


def check_adapter_names(specs: tuple[AdapterSpec, ...], where: str = "--jarvis-adapter") -> None:
    """Raise InputError for an adapter with the base's name, and for two of one name."""
    names = [spec.name for spec in specs]
    for name in names:
        if name in {BASE_ARM, TWIN_ARM} or names.count(name) > 1:
            why = "is used twice" if names.count(name) > 1 else "stands for the base model"
            raise InputError(f"{where}: the name '{name}' {why}; give each adapter a name of its own: NAME=PATH")


def detected_adapter(detection: Detection, source: str) -> AdapterSpec:
    """Return the adapter that `auto` found; `source` is its folder as the user would write it."""
    return _make_adapter(detection.arm, source, f"--jarvis-adapter {AUTO}", source)


def _parse_adapter(text: str) -> AdapterSpec:
    name, equals, source = text.partition("=")
    if not equals or _SEPARATOR.search(name):
        source = text
        if text.startswith(f"{DEMO}:"):
            name = text.removeprefix(f"{DEMO}:")
        elif text == AUTO:
            name = AUTO
        else:
            name = arm_name(Path(text))
    return _make_adapter(name, source, "--jarvis-adapter", text)


def _make_adapter(name: str, source: str, where: str, found: str) -> AdapterSpec:
    if not _ADAPTER_NAME.fullmatch(name) or not source:
        raise InputError(
            f"{where}: expected PATH or NAME=PATH, found {found!r}; "
            "NAME is made of letters, digits, '_' and '-', with a letter or digit first"
        )
    return AdapterSpec(name=name, source=source)


def _read_baseline(
    option: argparse.Namespace, reports: Path, *, twin: bool, written: bool
) -> RegressionBaseline | None:
    """Return the run to test against, `last` being the baseline where set; InputError for contradictory options."""
    if option.jarvis_compare is None:
        if option.jarvis_fail_on_regression:
            raise InputError(
                "--jarvis-fail-on-regression: no run to compare with; add --jarvis-compare REPORT.json or last"
            )
        return None
    if twin:
        raise InputError("--jarvis-compare: an A/A run has no candidate to compare; leave one of the two out")
    if not written:
        raise InputError("--jarvis-compare: without --jarvis-report nothing is judged; add --jarvis-report")
    from pytest_jarvis.report.saved_runs import BASELINE_FILE, RegressionBaseline, read_saved

    baseline = reports / BASELINE_FILE
    saved = None
    if option.jarvis_compare != "last":
        saved = read_saved(Path(option.jarvis_compare), "named")
    elif baseline.exists():
        saved = read_saved(baseline, "baseline")
    return RegressionBaseline(asked=option.jarvis_compare, saved=saved, fail=option.jarvis_fail_on_regression)
