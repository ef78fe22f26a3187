"""`benchmark_config.json`: what a checkout benchmarks, in six validated sections; everything has a default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pytest_jarvis.discovery import AUTO, Detection, arm_name
from pytest_jarvis.reading import InputError, read_json
from pytest_jarvis.records import BASE_ARM, TWIN_ARM, AdapterSpec, GenerationSettings, ModelSpec

CONFIG_FILE = "benchmark_config.json"
DEMO = "demo"
DEMO_ADAPTER = "demo:jarvis"

_ADAPTER_NAME = re.compile(r"[^\W_][\w-]*")  # peft keeps names such as `__base__` to itself
_SEPARATOR = re.compile(r"[/\\]")

Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ModelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which base and which adapters, and how they are loaded."""

    base_model_id: Annotated[str, msgspec.Meta(min_length=1)] = DEMO
    adapters: dict[str, str] | Literal["auto"] | None = None
    """Arm name -> folder, `demo:NAME` or `auto`; or `auto` alone, the newest adapter under `adapter_folders`.

    When absent: `auto` if `adapter_folders` is given, else the embedded `demo:jarvis` for the demo.
    """
    adapter_folders: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """Where `auto` looks, beside the configuration file and below; `adapters`, `outputs`, `checkpoints` when absent."""
    quantization: Literal["nf4", "none"] = "nf4"
    device_map: str = "auto"
    max_memory: dict[str, str] | None = None
    revision: str | None = None
    trust_remote_code: bool = False


class GenerationSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How responses are drawn."""

    max_new_tokens: Positive = 128
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.7
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    do_sample: bool = True
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = 30.0
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    batch_size: Positive | None = None
    template: Literal["chat", "raw"] = "chat"
    thinking: bool = False
    system_prompt: str | None = None
    max_response_chars: Positive = 500


class MetricBar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a metric that others added, in its own unit."""

    min_gain: float | None = None
    """How much better than the base the fine-tuned arm must be: higher, or lower where lower is better."""
    min_mean: float | None = None
    """Least mean of the fine-tuned arm, or of the pairs."""
    max_mean: float | None = None


class BenchmarkSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which prompts, how many responses, and what is asked of the gain."""

    prompts: str | None = None
    """A folder, relative to the configuration file; the packaged prompts when absent."""
    categories: tuple[str, ...] | None = None
    prompts_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """`provenance.prompt_hash` of the report the verdict is meant for: other prompts are not judged."""
    samples: Positive | None = None
    """Responses per prompt and arm, fixed; when absent the gate draws looks."""
    gate: Literal["proven", "point", "off"] = "proven"
    inconclusive: Literal["fail", "warn"] = "fail"
    min_gain_percent: Annotated[float, msgspec.Meta(ge=-100, le=1000)] = 5.0
    max_failure_share: Share = 0.05
    min_keyword_gain_percent: Annotated[float, msgspec.Meta(ge=-100, le=1000)] | None = None
    min_absolute_gain: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    max_latency_ratio: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Of whole responses, their length included: in shared batches a token takes every arm as long."""
    category_floors: dict[str, Share] = {}
    metric_bars: dict[str, MetricBar] = {}
    """By the name of a metric that a conftest.py declares, or that the hook gives."""


class MetricsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which metrics are computed."""

    cosine: bool = True
    keywords: bool = True
    keyword_mode: Literal["words", "substring"] = "words"
    relevance: bool = True


class OutputSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the files go."""

    folder: str = "reports"
    formats: tuple[Literal["text", "charts", "html", "markdown"], ...] = ("text", "charts", "html", "markdown")


class LoggingSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is shown while it runs."""

    progress: bool = True
    gpu_memory: bool = True


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"schema": "$schema"}):
    """The whole file."""

    schema: str | None = None
    model: ModelSection = ModelSection()
    generation: GenerationSection = GenerationSection()
    benchmark: BenchmarkSection = BenchmarkSection()
    metrics: MetricsSection = MetricsSection()
    output: OutputSection = OutputSection()
    logging: LoggingSection = LoggingSection()


def load_config(path: Path) -> Config:
    """Return the file's configuration; raise InputError with the place of what is wrong."""
    return read_json(path, Config)


def model_spec(section: ModelSection, generation: GenerationSection, adapters: tuple[AdapterSpec, ...]) -> ModelSpec:
    """Return what the engine needs to load."""
    return ModelSpec(
        base_model=section.base_model_id,
        adapters=adapters,
        quantization=section.quantization,
        device_map=section.device_map,
        max_memory=section.max_memory,
        revision=section.revision,
        trust_remote_code=section.trust_remote_code,
        batch_size=generation.batch_size,
    )


def generation_settings(section: GenerationSection) -> GenerationSettings:
    """Return how responses are drawn."""
    return GenerationSettings(
        max_new_tokens=section.max_new_tokens,
        temperature=section.temperature,
        top_p=section.top_p,
        do_sample=section.do_sample,
        seed=section.seed,
        timeout_s=section.timeout_s,
        template=section.template,
        enable_thinking=section.thinking,
        system_prompt=section.system_prompt,
        max_response_chars=section.max_response_chars,
    )


def adapter_specs(named: list[str], section: ModelSection, *, base_changed: bool = False) -> tuple[AdapterSpec, ...]:
    """Return the adapters of the command line (`PATH` or `NAME=PATH`), else of the file, else the demo's own.

    The adapters that the file names belong to the file's base: they do not count when the command line names another
    (`base_changed`). A source may be `auto`, to be put in place by `detected_spec`; its name then is `auto` too unless
    it was given one. Raises InputError for a name that cannot be one or is used twice, and for a real base without an
    adapter.
    """
    where = "--jarvis-adapter"
    if named:
        specs = tuple(_parse_adapter(text) for text in named)
    elif isinstance(section.adapters, dict) and section.adapters and not base_changed:
        where = "model.adapters of the configuration"
        specs = tuple(_checked(name, source, where, f"{name}={source}") for name, source in section.adapters.items())
    elif section.adapters == AUTO or section.adapter_folders is not None:
        specs = (AdapterSpec(name=AUTO, source=AUTO),)
    elif section.base_model_id == DEMO:
        specs = (_parse_adapter(DEMO_ADAPTER),)
    else:
        raise InputError(
            f"base model {section.base_model_id}: there is no adapter to compare it with; "
            "give one with --jarvis-adapter PATH (or auto) or in model.adapters of the configuration"
        )
    refuse_names(specs, where)
    return specs


def refuse_names(specs: tuple[AdapterSpec, ...], where: str = "--jarvis-adapter") -> None:
    """Raise InputError for an adapter called as the base is, and for two of one name."""
    names = [spec.name for spec in specs]
    for name in names:
        if name in {BASE_ARM, TWIN_ARM} or names.count(name) > 1:
            why = "is used twice" if names.count(name) > 1 else "stands for the base model"
            raise InputError(f"{where}: the name '{name}' {why}; give each adapter a name of its own: NAME=PATH")


def detected_spec(detection: Detection, source: str) -> AdapterSpec:
    """Return the adapter that `auto` stands for; `source` is its folder as the user would write it."""
    return _checked(detection.arm, source, f"--jarvis-adapter {AUTO}", source)


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
    return _checked(name, source, "--jarvis-adapter", text)


def _checked(name: str, source: str, where: str, found: str) -> AdapterSpec:
    if not _ADAPTER_NAME.fullmatch(name) or not source:
        raise InputError(
            f"{where}: expected PATH or NAME=PATH, found {found!r}; "
            "NAME takes letters, digits, '_' and '-', no sign first"
        )
    return AdapterSpec(name=name, source=source)
