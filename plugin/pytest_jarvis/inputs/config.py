"""`benchmark_config.json`: its six sections, validated; every key has a default."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from pytest_jarvis.files import (
    InputError,
    find_entry_points,
    read_json,
    read_text,
    refuse_repeated_keys,
    suggest,
    text_fault,
)
from pytest_jarvis.types import Generation, LogLevel, Model, Positive, Primary

CONFIG_FILE = "benchmark_config.json"
DEMO = "demo"
AUTO: Final = "auto"
"""In place of a path: the newest usable adapter under the configured folders."""

_FILE_NAME = re.compile(r"[\w+-]([\w .+-]*[\w+-])?")
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s?(?P<unit>[KMGT])(?P<binary>i?)B")
_DEVICES = ("'auto'", "'balanced'", "'balanced_low_0'", "'sequential'", "'cpu'", "'cuda'")
_DEVICE_MAP = re.compile(r"auto|balanced|balanced_low_0|sequential|cpu|cuda(:\d+)?")

OUTPUTS: Final = "pytest_jarvis.outputs"
"""The entry points that bring formats of output: name -> a `pytest_jarvis.render.OutputFormat`."""

FILES: Final = {"text": "report.txt", "markdown": "summary.md", "html": "report.html", "charts": "charts.png"}
"""Built-in formats and their files, in the order they are written, the slowest last."""

Replicates = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ModelSection(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base, its adapters, and how to load them."""

    load_in_4bit: bool | None = None
    """As in `BitsAndBytesConfig`: false is `quantization` `none`."""
    quant_type: Literal["nf4", "fp4"] | None = None
    """As in `BitsAndBytesConfig`: the same as `quantization`."""
    adapters: Annotated[dict[str, str], msgspec.Meta(min_length=1)] | Literal["auto"] | None = None
    """Arm name -> folder, `demo:NAME` or `auto`; or `auto` alone, the newest adapter under `adapter_folders`.

    When absent: `auto` if `adapter_folders` is given, else the embedded `demo:jarvis` for the demo.
    """
    adapter_folders: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """Folders that `auto` searches, relative to this file; `adapters`, `outputs`, `checkpoints` when absent."""


class GenerationSection(Generation, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How responses are generated."""

    tools: bool = False
    """Offer the tools to the model through its chat template, and judge its calls: see `docs/tool-routing.md`."""


class MetricBar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of a metric, in its own unit."""

    min_gain: float | None = None
    """Least difference of the fine-tuned arm to the base, in the metric's better direction."""
    min_mean: float | None = None
    """Least mean of the fine-tuned arm, or of the pairs."""
    max_mean: float | None = None
    """Largest mean of the fine-tuned arm, or of the pairs."""


class BenchmarkSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which prompts, how many responses, and the thresholds of the gate."""

    prompts: str | None = None
    """A folder, relative to the configuration file; the packaged prompts when absent."""
    categories: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """The prompt files to run, by name without `.toml`; all when absent."""
    num_prompts: Positive | None = None
    """Ask this many prompts only: of each category its share, drawn by `generation.seed`. A part is not judged."""
    prompts_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """Expected `provenance.prompt_hash`: a run with other prompts is not judged."""
    guards: bool = False
    """Whether to ask the prompts of the folder `guards` too: right is to do several things or nothing, or to ask."""
    samples: Replicates | None = None
    """Fixed number of responses per prompt and arm; when absent, the gate takes looks."""
    looks: Annotated[tuple[Replicates, ...], msgspec.Meta(min_length=1, max_length=8)] | None = None
    """Responses per prompt and arm at which a `proven` gate may stop; 4, 8 and 16 when absent."""
    gate: Literal["proven", "point", "off"] = "proven"
    """`proven`: the gain must be proven; `point`: its estimate counts; `off`: nothing is judged."""
    alpha: Annotated[float, msgspec.Meta(ge=0.01, le=0.2)] = 0.05
    """Error rate of a proven verdict, over all looks and adapters."""
    inconclusive: Literal["fail", "warn"] = "fail"
    """Exit status of an inconclusive gate: 1 (`fail`) or 0 (`warn`)."""
    unjudged: Literal["fail", "warn"] = "fail"
    """Exit status when a run of all prompts cannot be judged, as with too many failures: 1 (`fail`) or 0 (`warn`)."""
    require: Literal["first", "any", "all"] = "first"
    """Which adapters must pass, where there are several."""
    strict: bool = False
    """Exit status 1 when the gate cannot judge, also with `-k` or `-m`."""
    min_gain_percent: Annotated[float, msgspec.Meta(ge=-100, le=1_000_000)] = 5.0
    """Least gain of JARVIS relevance, in per cent of the base's."""
    primary: Primary = "relevance"
    """The headline, whose gain must be shown: `relevance`, or `deeds`, the share of responses that do what is asked."""
    min_done_gain: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.05
    """With the deeds as headline: least difference of their share from the base's; 0.05 is five points."""
    min_done_share: Share | None = 0.5
    """Least share of the deeds that the fine-tuned arm does; null for none. It counts where deeds are judged."""
    no_drop: tuple[str, ...] = ("deeds", "keyword_share")
    """Metrics of which no drop may be proven; one that was not measured is left out."""
    controls: bool = True
    """Score each answer as one to another prompt too; a fine-tune that scores no less there is not accepted."""
    max_failure_share: Share = 0.05
    """Largest share of an arm's responses that may fail."""
    min_keyword_gain_percent: Annotated[float, msgspec.Meta(ge=-100, le=1_000_000)] | None = None
    """The same as `min_gain_percent` for the keywords; no threshold when absent, as all that follow."""
    min_absolute_gain: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    """Least difference in JARVIS relevance from the base, from -1 to 1."""
    max_latency_ratio: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] | None = None
    """Largest ratio of the fine-tuned arm's seconds per response to the base's.

    It includes the length of responses: in shared batches a token takes equally long in every arm.
    """
    min_routing_accuracy: Share | None = None
    """Least share of right tool choices of the fine-tuned arm, from 0 to 1."""
    min_routing_gain: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    """Least difference of that share from the base's, from -1 to 1: 0.1 is ten points."""
    category_floors: dict[str, Share] = {}
    """Category -> least JARVIS relevance of the fine-tuned arm, from 0 to 1."""
    training_data: tuple[str, ...] = ()
    """Training data of the adapters, relative to the configuration file: prompts found there are marked."""
    metric_bars: dict[str, MetricBar] = {}
    """Name of a built-in or custom metric -> its thresholds."""


RelevanceScope = Literal["tool", "dictionary"]


class MetricsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which metrics to compute."""

    cosine: bool = True
    """Cosine similarity of the two arms' responses, by the base's hidden states."""
    keywords: bool = True
    """Share of the prompt's keywords that the response contains."""
    keyword_mode: Literal["words", "substring"] = "words"
    """`words`: match at word boundaries; `substring`: anywhere."""
    relevance: bool = True
    """JARVIS relevance, which the gate judges."""
    relevance_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.3
    """Share of the terms at which JARVIS relevance reaches 1: min(1, found / (share * total))."""
    relevance_scope: RelevanceScope = "tool"
    """`tool`: the terms of the expected tool, where the response announces an action; `dictionary`: all, anywhere."""
    deeds: bool = True
    """Share of responses that did what was asked, as judged from their calls, else from their words."""
    tool_routing: bool = True
    """Tool choice: the tool called or, where no tools are offered, that of the deed. It costs nothing."""


class OutputSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names and folders of the files that a run writes."""

    folder: Annotated[str, msgspec.Meta(min_length=1)] = "reports"
    """Parent of the folders of runs; relative to pytest's root folder."""
    run_name: Annotated[str, msgspec.Meta(min_length=1)] = "{time}"
    """Name of a run's folder; `{time}`, `{model}` and `{adapter}` are replaced. A number is added to a taken name."""
    formats: tuple[str, ...] = ("text", "charts", "html", "markdown")
    """Formats written beside `report.json` and `thresholds.json`: the four of the default, or installed ones."""
    names: dict[str, str] = {}
    """Format -> file name, in place of `report.txt`, `charts.png`, `report.html` or `summary.md`."""
    store: Annotated[str, msgspec.Meta(min_length=1)] = ".jarvis/responses.sqlite"
    """File of the stored responses; relative to pytest's root folder."""


class LoggingSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run shows in the terminal."""

    verbosity: Literal["quiet", "normal", "verbose"] = "normal"
    """`quiet`: no progress, no line per prompt; `verbose`: also the first responses. pytest's -q and -v override it."""
    level: LogLevel = "error"
    """Log level of the libraries that load a model."""
    progress: bool = True
    """Show the progress of generation."""
    gpu_memory: bool = True
    """Show the memory of the devices once the model is loaded."""
    timings: bool = True
    """Show how long loading, generation and comparison took."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"schema": "$schema"}):
    """The configuration: six sections; every key has a default."""

    schema: str | None = None
    """The JSON Schema of this file, for editors."""
    model: ModelSection = ModelSection()
    generation: GenerationSection = GenerationSection()
    benchmark: BenchmarkSection = BenchmarkSection()
    metrics: MetricsSection = MetricsSection()
    output: OutputSection = OutputSection()
    logging: LoggingSection = LoggingSection()


def arm_name(folder: Path) -> str:
    """Return a folder's name as a valid name of a torch module, which takes no dot."""
    return re.sub(r"[^\w-]+", "-", folder.absolute().name).strip("-_")


def load_config(path: Path) -> Config:
    """Return a file's configuration; raise InputError with the place of the first fault."""
    conf = read_json(path, Config)
    refuse_repeated_keys(read_text(path), str(path))
    written = read_json(path, dict).get("model", {})
    faults = (*_find_faults(conf), *_find_text_faults(conf), *_find_contradictions(conf.model, written))
    for section, key, fault in faults:
        raise InputError(f"{path}: {section}: {key}: {fault}")
    quantization = "none" if conf.model.load_in_4bit is False else conf.model.quant_type or conf.model.quantization
    return msgspec.structs.replace(conf, model=msgspec.structs.replace(conf.model, quantization=quantization))


def _find_contradictions(model: ModelSection, written: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and fault of keys, as `written`, that ask for different quantisations."""
    in_4_bits = model.load_in_4bit
    if "quantization" in written:
        said = f"'quantization' is '{model.quantization}'; keep one of the two"
        if in_4_bits is not None and in_4_bits != (model.quantization != "none"):
            yield "model", "load_in_4bit", said
        if model.quant_type is not None and model.quant_type != model.quantization:
            yield "model", "quant_type", said
        in_4_bits = model.quantization != "none"
    for key in ("quant_type", "double_quant"):
        if in_4_bits is False and written.get(key) is not None:
            yield "model", key, "it is about weights in 4 bits, and none are asked for; leave it out"


def _find_faults(conf: Config) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and fault of each value that its type alone cannot rule out."""
    model, benchmark, output = conf.model, conf.benchmark, conf.output
    if not _DEVICE_MAP.fullmatch(model.device_map):
        yield "model", "device_map", f"expected {', '.join(_DEVICES)} or 'cuda:N', found {model.device_map!r}"
    for device, most in (model.max_memory or {}).items():
        if not (device.isdigit() or device == "cpu"):
            yield "model", "max_memory", f"expected the number of a GPU or 'cpu', found {device!r}"
        if not _SIZE.fullmatch(most):
            yield "model", f"max_memory: {device}", f"expected a size such as '20GB', found {most!r}"
    if benchmark.looks is not None:
        if benchmark.samples is not None:
            yield "benchmark", "looks", "'samples' fixes the number of responses; keep one of the two"
        if any(later <= earlier for earlier, later in pairwise(benchmark.looks)):
            yield "benchmark", "looks", f"expected numbers that increase, found {list(benchmark.looks)}"
    if wrong := _wrong_name(re.sub(r"\{(time|model|adapter)\}", "x", output.run_name)):
        wrong = f"{wrong}; {{time}}, {{model}}, {{adapter}} are replaced; found {output.run_name!r}"
        yield "output", "run_name", wrong
    yield from _find_output_faults(output)


def _find_text_faults(conf: Config) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and fault of each text that can be no name, path or address."""
    for section in ("model", "benchmark", "output"):
        for key, value in msgspec.to_builtins(getattr(conf, section)).items():
            texts = (
                [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
            )
            for fault in (text_fault(text) for text in texts if isinstance(text, str)):
                if fault is not None:
                    yield section, key, fault


def _find_output_faults(output: OutputSection) -> Iterator[tuple[str, str, str]]:
    for key, names in (("formats", output.formats), ("names", output.names)):
        for name in names:
            if wrong := unknown_format(name):
                yield "output", key, wrong
    for name, file in output.names.items():
        default = FILES.get(name, file)
        if wrong := _wrong_name(file):
            yield "output", f"names: {name}", f"{wrong}, found {file!r}"
        elif Path(file).suffix != Path(default).suffix:
            yield "output", f"names: {name}", f"expected a name that ends in '{Path(default).suffix}', found {file!r}"


def unknown_format(name: str) -> str | None:
    """Return the fault of a format's name; None for a built-in or installed format."""
    if name in FILES:
        return None
    others = find_entry_points(OUTPUTS)
    return None if name in others else f"unknown format '{name}'{suggest(name, [*FILES, *others])}"


def bytes_of(size: str | None, default: int) -> int:
    """Return a size such as `20GB` or `20GiB` in bytes; `default` for None."""
    found = _SIZE.fullmatch(size or "")
    if found is None:
        return default
    base = 1024 if found["binary"] else 1000
    return int(float(found["number"]) * base ** ("KMGT".index(found["unit"]) + 1))


def _wrong_name(name: str) -> str | None:
    """Return what is expected of a file name that some system refuses, or None."""
    return None if _FILE_NAME.fullmatch(name) else "expected letters, digits, spaces and '._+-', no dot first"


BASE_URL: Final = "model.base_url (--jarvis-base-url)"
EMBEDDING_URL: Final = "model.embedding_url"


def resolve_server(section: ModelSection) -> ModelSection:
    """Return the section with complete addresses; raise InputError without the server's address or the base's name."""
    where = "--jarvis-engine server"
    if section.base_url is None:
        raise InputError(
            f"{where}: no address of a server; give it with --jarvis-base-url (such as http://localhost:8000/v1) "
            "or in model.base_url of the configuration"
        )
    if section.base_model_id == DEMO:
        raise InputError(f"{where}: no base model; give the server's name for it with --jarvis-model")
    return normalize_addresses(section)


def normalize_addresses(section: ModelSection) -> ModelSection:
    """Return the section with complete addresses; raise InputError for a malformed one, or one that holds a key.

    Check them with every engine: addresses are printed where no server is used too.
    """
    return msgspec.structs.replace(
        section,
        base_url=None if section.base_url is None else _check_address(section.base_url, BASE_URL),
        embedding_url=None if section.embedding_url is None else _check_address(section.embedding_url, EMBEDDING_URL),
    )


def _check_address(text: str, where: str) -> str:
    """Return a server's address without a trailing slash, with `/v1` if it has no path; no message repeats its key."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"{where}: expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"{where}: addresses are printed in reports: give it without user, password or query, "
            "and a key in the environment variable JARVIS_API_KEY"
        )
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"
