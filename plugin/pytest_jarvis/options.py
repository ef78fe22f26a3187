"""The command line of the plugin, and what it and the configuration file come to together."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from pytest_jarvis.config import Config
    from pytest_jarvis.records import AdapterSpec, GenerationSettings, ModelSpec

DEFAULT_SAMPLES = 4
_DEFAULTS = {"jarvis_engine": "transformers", "jarvis_require": "first"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this session does: options over file over defaults."""

    config: Config
    engine: str
    model: ModelSpec
    adapters: tuple[AdapterSpec, ...]
    """What is compared with the base; in an A/A run, the base again."""
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


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the group `jarvis`."""
    group = parser.getgroup("jarvis", "JARVIS benchmark: a base model against its LoRA fine-tunes")
    add = group.addoption
    add("--jarvis-report", action="store_true", help="judge the gain and write the report under reports/<run>/")
    add(
        "--jarvis-report-dir",
        metavar="DIR",
        help="write the report in exactly this new folder (implies --jarvis-report)",
    )
    add("--jarvis-config", metavar="FILE", help="configuration file (default: benchmark_config.json beside pytest.ini)")
    add("--jarvis-model", metavar="ID", help="base model: a folder, a hub id, or 'demo', the embedded one")
    add(
        "--jarvis-adapter",
        metavar="[NAME=]PATH",
        action="append",
        default=[],
        help="LoRA adapter to compare with the base: a folder or demo:NAME; may be given several times",
    )
    add(
        "--jarvis-engine",
        metavar="NAME",
        default=_DEFAULTS["jarvis_engine"],
        help="what runs the models: transformers (default), scripted (fake)",
    )
    add("--jarvis-prompts", metavar="DIR", help="folder of prompt files (default: those of the checkout or package)")
    add(
        "--jarvis-samples",
        metavar="N",
        type=_positive,
        help="responses per prompt and arm, fixed (default: looks of 4, 8 and 16)",
    )
    add(
        "--jarvis-gate",
        choices=("proven", "point", "off"),
        help="proven (default): the gain must be shown; point: its estimate; off",
    )
    add(
        "--jarvis-min-gain", metavar="PERCENT", type=_percent, help="relevance gain asked for, in per cent (default: 5)"
    )
    add(
        "--jarvis-inconclusive",
        choices=("fail", "warn"),
        help="exit status of an inconclusive gate: 1 (fail, default) or 0 (warn)",
    )
    add(
        "--jarvis-require",
        choices=("any", "all", "first"),
        default=_DEFAULTS["jarvis_require"],
        help="which adapters must pass (default: the first named)",
    )
    add("--jarvis-strict", action="store_true", help="exit 1 when the gate cannot judge, as with -k or failures")
    add(
        "--jarvis-aa",
        action="store_true",
        help="run the base against itself with noise of its own: the noise floor of each metric",
    )
    add("--jarvis-seed", metavar="N", type=_natural, help="seed of all sampling (default: 0)")
    add(
        "--jarvis-batch-size",
        metavar="N",
        type=_positive,
        help="rows generated at once (default: chosen from the free memory)",
    )
    add("--jarvis-max-new-tokens", metavar="N", type=_positive, help="longest response, in tokens (default: 128)")
    add(
        "--jarvis-timeout",
        metavar="SECONDS",
        type=_seconds,
        help="longest generation of a response; 0 for none (default: 30)",
    )
    add("--jarvis-template", choices=("chat", "raw"), help="chat (default): the model's template; raw: the bare prompt")
    add(
        "--jarvis-allow-partial-4bit",
        action="store_true",
        help="go on when less than 95 %% of the weights are in 4 bits",
    )
    add("--jarvis-allow-inert-adapter", action="store_true", help="go on when an adapter changes nothing")


def is_asked_for(config: pytest.Config) -> bool:
    """Whether any option of the group is set, on the command line, in `addopts` or in `PYTEST_ADDOPTS`."""
    given = {name: value for name, value in vars(config.option).items() if name.startswith("jarvis_")}
    return any(value not in (None, False, []) and value != _DEFAULTS.get(name) for name, value in given.items())


def resolve(config: pytest.Config) -> Settings:
    """Return the settings of this session; raise InputError for what cannot be."""
    from pytest_jarvis.config import CONFIG_FILE, Config, load_config
    from pytest_jarvis.engines import ENGINES
    from pytest_jarvis.prompts import packaged_prompts
    from pytest_jarvis.reading import InputError, nearest

    option = config.option
    named = option.jarvis_config
    file = Path(named) if named else config.rootpath / CONFIG_FILE
    conf = load_config(file) if named or file.is_file() else Config()
    engine = option.jarvis_engine
    if engine not in ENGINES:
        raise InputError(f"--jarvis-engine: unknown engine '{engine}'{nearest(engine, list(ENGINES))}")
    conf = _override(conf, option)
    adapters = _adapters(conf, option, file.parent)
    benchmark = conf.benchmark
    if option.jarvis_prompts:
        prompts = Path(option.jarvis_prompts)
    elif benchmark.prompts:
        prompts = file.parent / benchmark.prompts
    else:
        local = config.rootpath / "jarvis_prompts"
        prompts = local if local.is_dir() else packaged_prompts()
    folder = _report_folder(option.jarvis_report_dir)
    return Settings(
        config=conf,
        engine=engine,
        model=_model(conf, option, () if option.jarvis_aa else adapters),
        adapters=adapters,
        twin=option.jarvis_aa,
        generation=_generation(conf),
        prompts_folder=prompts,
        looks=(benchmark.samples,) if benchmark.samples else _looks(conf, twin=option.jarvis_aa),
        gate="off" if option.jarvis_aa else benchmark.gate,
        min_gain=benchmark.min_gain_percent / 100,
        inconclusive=benchmark.inconclusive,
        require=option.jarvis_require,
        strict=option.jarvis_strict,
        write_report=option.jarvis_report or folder is not None,
        report_folder=folder,
        reports_root=config.rootpath / conf.output.folder,
    )


def _adapters(conf: Config, option: argparse.Namespace, beside: Path) -> tuple[AdapterSpec, ...]:
    """Return what is compared with the base; a relative folder of the file is one beside it."""
    from pytest_jarvis.config import adapter_specs
    from pytest_jarvis.reading import InputError
    from pytest_jarvis.records import TWIN_ARM, AdapterSpec

    if not option.jarvis_aa:
        specs = adapter_specs(option.jarvis_adapter, conf.model, base_changed=option.jarvis_model is not None)
        if option.jarvis_adapter:
            return specs
        return tuple(
            spec if spec.source.startswith("demo:") else replace(spec, source=_beside(beside, spec.source))
            for spec in specs
        )
    if option.jarvis_adapter:
        raise InputError("--jarvis-aa runs the base against itself; leave --jarvis-adapter out")
    return (AdapterSpec(name=TWIN_ARM, source="base"),)


def _beside(folder: Path, source: str) -> str:
    """Return a relative path of the configuration as one from here; relative still, where that is possible."""
    path = folder / Path(source).expanduser()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _looks(conf: Config, *, twin: bool) -> tuple[int, ...]:
    """Return the looks where no count is fixed; greedy decoding says everything in one response."""
    from pytest_jarvis.records import LOOKS

    if not conf.generation.do_sample or conf.generation.temperature == 0:
        return (1,)
    return LOOKS if conf.benchmark.gate == "proven" and not twin else (DEFAULT_SAMPLES,)


def _override(conf: Config, option: argparse.Namespace) -> Config:
    """Return the configuration with what the command line says of the same things."""
    import msgspec

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
    from pytest_jarvis.config import model_spec

    return replace(
        model_spec(conf.model, conf.generation, adapters),
        allow_partial_4bit=option.jarvis_allow_partial_4bit,
        allow_inert_adapter=option.jarvis_allow_inert_adapter,
    )


def _generation(conf: Config) -> GenerationSettings:
    from pytest_jarvis.config import generation_settings

    return generation_settings(conf.generation)


def _report_folder(named: str | None) -> Path | None:
    if named is None:
        return None
    from pytest_jarvis.reading import InputError
    from pytest_jarvis.report import REPORT_FILE

    folder = Path(named)
    if (folder / REPORT_FILE).exists():
        raise InputError(f"--jarvis-report-dir: {folder} already holds a report; name a new folder")
    nearest_existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest_existing.is_dir():
        raise InputError(f"--jarvis-report-dir: {nearest_existing} is a file; name a folder")
    if not os.access(nearest_existing, os.W_OK):
        raise InputError(f"--jarvis-report-dir: {nearest_existing} cannot be written to; name another folder")
    return folder


def _positive(text: str) -> int:
    return _whole(text, 1)


def _natural(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, found {text!r}")
    return value


def _percent(text: str) -> float:
    return _number(text.removesuffix("%").strip().replace(",", "."), text, "a percentage such as 5", -100)


def _seconds(text: str) -> float:
    return _number(text, text, "seconds such as 30, or 0 for none", 0)


def _number(text: str, shown: str, expected: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise argparse.ArgumentTypeError(f"expected {expected}, found {shown!r}")
    return value
