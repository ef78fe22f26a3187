"""`benchmark_config.json`: what a checkout benchmarks, in six validated sections; everything has a default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from pytest_jarvis.files import InputError, find_entry_points, read_json, read_text, refuse_repeated_keys, suggest
from pytest_jarvis.types import Generation, Positive, ServerSpec

CONFIG_FILE = "benchmark_config.json"
DEMO = "demo"

_FILE_NAME = re.compile(r"[\w+-]([\w .+-]*[\w+-])?")
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s?(?P<unit>[KMGT])(?P<binary>i?)B")
_DEVICES = ("'auto'", "'balanced'", "'balanced_low_0'", "'sequential'", "'cpu'", "'cuda'")
_DEVICE_MAP = re.compile(r"auto|balanced|balanced_low_0|sequential|cpu|cuda(:\d+)?")

OUTPUTS: Final = "pytest_jarvis.outputs"
"""The entry points that bring formats of output: name -> a `pytest_jarvis.render.OutputFormat`."""

FILES: Final = {
    "text": "report.txt",
    "markdown": "summary.md",
    "html": "report.html",
    "charts": "charts.png",
}
"""Our own formats and their files, in the order they are written: what takes longest comes last."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ModelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which base and which adapters, and how they are loaded."""

    base_model_id: Annotated[str, msgspec.Meta(min_length=1)] = DEMO
    """The base: a folder, a hub id, or `demo`, the embedded one."""
    adapters: Annotated[dict[str, str], msgspec.Meta(min_length=1)] | Literal["auto"] | None = None
    """Arm name -> folder, `demo:NAME` or `auto`; or `auto` alone, the newest adapter under `adapter_folders`.

    When absent: `auto` if `adapter_folders` is given, else the embedded `demo:jarvis` for the demo.
    """
    adapter_folders: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """Where `auto` looks, beside the configuration file and below; `adapters`, `outputs`, `checkpoints` when absent."""
    quantization: Literal["nf4", "none"] = "nf4"
    """`nf4`: 4 bits with double quantisation, experts included; `none`: the weights as they are, in 16 bits."""
    allow_partial_4bit: bool = False
    """Go on, with the label in every output, when less than 95 % of the weights are in 4 bits."""
    allow_inert_adapter: bool = False
    """Go on when an adapter changes nothing."""
    plain_gpu: bool = False
    """On a GPU, read experts out of 4 bits at every step and record no CUDA graph: slower, to rule both out."""
    device_map: str = "auto"
    """Where the layers go: `auto`, `balanced`, `balanced_low_0`, `sequential`, `cpu`, `cuda` or `cuda:N`."""
    max_memory: dict[str, str] | None = None
    """Most memory per device: GPU number or `cpu` -> a size such as `20GB`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    trust_remote_code: bool = False
    """Run the Python code that comes with a model. Only for one you trust as you trust your own code."""
    base_url: str | None = None
    """Where the engine `server` finds one; up to and with `/v1`."""
    concurrency: Positive = 32
    """Requests to a server under way at once."""
    retries: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    """Further tries of a request to a server that failed in passing."""
    embedding_model: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """With the engine `server`, what makes the cosine's vectors: a name it serves, or `local:` and an encoder's."""
    embedding_url: str | None = None
    """Where that model is served, when it is not at `base_url`."""


class GenerationSection(Generation, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How responses are drawn."""

    batch_size: Positive | None = None
    """Rows generated at once; chosen from the free memory when absent."""
    tools: bool = False
    """Offer the tools to the model through its chat template, and judge its calls; `docs/tool-routing.md`."""


class MetricBar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a metric, in its own unit."""

    min_gain: float | None = None
    """How much better than the base the fine-tuned arm must be: higher, or lower where lower is better."""
    min_mean: float | None = None
    """Least mean of the fine-tuned arm, or of the pairs."""
    max_mean: float | None = None
    """Largest mean of the fine-tuned arm, or of the pairs."""


class BenchmarkSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which prompts, how many responses, and what is asked of the gain."""

    prompts: str | None = None
    """A folder, relative to the configuration file; the packaged prompts when absent."""
    categories: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    """The prompt files that are run, by their names without `.toml`; all when absent."""
    prompts_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """`provenance.prompt_hash` of the report the verdict is meant for: other prompts are not judged."""
    samples: Positive | None = None
    """Responses per prompt and arm, fixed; when absent the gate draws looks."""
    looks: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1, max_length=8)] | None = None
    """Responses per prompt and arm at which a `proven` gate may stop drawing; 4, 8 and 16 when absent."""
    gate: Literal["proven", "point", "off"] = "proven"
    """`proven`: the gain must be shown; `point`: its estimate is compared; `off`: nothing is judged."""
    alpha: Annotated[float, msgspec.Meta(ge=0.01, le=0.2)] = 0.05
    """Error rate that a proven verdict may have, all looks and adapters together."""
    inconclusive: Literal["fail", "warn"] = "fail"
    """Exit status of a gate that settles nothing: 1 (`fail`) or 0 (`warn`)."""
    require: Literal["first", "any", "all"] = "first"
    """Which adapters must pass where there are several."""
    strict: bool = False
    """Exit status 1 when the gate cannot judge, as with `-k` or failures."""
    min_gain_percent: Annotated[float, msgspec.Meta(ge=-100)] = 5.0
    """Gain of JARVIS relevance asked for, in per cent of the base's."""
    max_failure_share: Share = 0.05
    """Largest share of an arm's responses that may fail."""
    min_keyword_gain_percent: Annotated[float, msgspec.Meta(ge=-100)] | None = None
    """The same as `min_gain_percent` for the keywords; not asked when absent, as all that follow."""
    min_absolute_gain: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    """Least difference of JARVIS relevance to the base's, from -1 to 1."""
    max_latency_ratio: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Largest ratio of the fine-tuned arm's seconds per response to the base's.

    Of whole responses, their length included: in shared batches a token takes every arm as long.
    """
    min_routing_accuracy: Share | None = None
    """Least share of the fine-tuned arm's right choices of the tool, from 0 to 1."""
    min_routing_gain: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    """Least difference of that share to the base's, from -1 to 1: 0.1 is ten points."""
    category_floors: dict[str, Share] = {}
    """Category -> least JARVIS relevance of the fine-tuned arm there, from 0 to 1."""
    training_data: tuple[str, ...] = ()
    """Files the adapters were trained on, relative to the configuration file: prompts found there are marked."""
    metric_bars: dict[str, MetricBar] = {}
    """By the name of a metric: a built-in one, or one that a conftest.py declares or the hook gives."""


class MetricsSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which metrics are computed."""

    cosine: bool = True
    """Similarity of the two arms' responses, by the base's hidden states."""
    keywords: bool = True
    """Share of the prompt's keywords in the response."""
    keyword_mode: Literal["words", "substring"] = "words"
    """`words`: at word boundaries; `substring`: anywhere."""
    relevance: bool = True
    """JARVIS relevance, which the gate judges."""
    relevance_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.3
    """Share of the dictionary's terms at which JARVIS relevance reaches 1: min(1, found / (share * total))."""
    tool_routing: bool = True
    """Whether the right tool was chosen: called where tools are offered, else named most. It costs nothing."""
    understanding: bool = False
    """Whether misheard commands were understood; draws the clean commands that are no prompts of the run as well."""


class OutputSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the files go."""

    folder: Annotated[str, msgspec.Meta(min_length=1)] = "reports"
    """Where each run gets a folder of its own; relative to pytest's root folder."""
    run_name: Annotated[str, msgspec.Meta(min_length=1)] = "{time}"
    """Name of a run's folder; `{time}`, `{model}` and `{adapter}` are filled in. A number is added to one taken."""
    formats: tuple[str, ...] = ("text", "charts", "html", "markdown")
    """Which files are made beside `report.json` and `thresholds.json`: the four of the default, or one installed."""
    names: dict[str, str] = {}
    """Format -> name of its file, when not its own: `report.txt`, `charts.png`, `report.html`, `summary.md`."""
    store: Annotated[str, msgspec.Meta(min_length=1)] = ".jarvis/responses.sqlite"
    """The file of the responses drawn so far; relative to pytest's root folder."""


class LoggingSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is shown while it runs."""

    verbosity: Literal["quiet", "normal", "verbose"] = "normal"
    """`quiet`: no progress, no line per prompt; `verbose`: first responses too. pytest's -q and -v override it."""
    level: Literal["error", "warning", "info", "debug"] = "error"
    """From which level on the libraries that load a model may say something."""
    progress: bool = True
    """How far the drawing of responses is."""
    gpu_memory: bool = True
    """The devices' memory once the model is loaded."""
    timings: bool = True
    """How long loading, drawing and comparing took, at the end."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"schema": "$schema"}):
    """What a checkout benchmarks: six sections; everything has a default."""

    schema: str | None = None
    """Where the JSON Schema of this file is, for editors."""
    model: ModelSection = ModelSection()
    generation: GenerationSection = GenerationSection()
    benchmark: BenchmarkSection = BenchmarkSection()
    metrics: MetricsSection = MetricsSection()
    output: OutputSection = OutputSection()
    logging: LoggingSection = LoggingSection()


def load_config(path: Path) -> Config:
    """Return the file's configuration; raise InputError with the place of what is wrong."""
    conf = read_json(path, Config)
    refuse_repeated_keys(read_text(path), str(path))
    refuse_impossible(conf, str(path))
    return conf


def refuse_impossible(conf: Config, where: str) -> None:
    """Raise InputError, starting with `where`, for what no type can say of a configuration."""
    for section, key, wrong in _impossible(conf):
        raise InputError(f"{where}: {section}: {key}: {wrong}")


def _impossible(conf: Config) -> Iterator[tuple[str, str, str]]:
    """Yield section, key and what is wrong there."""
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
        yield (
            "output",
            "run_name",
            f"{wrong}; {{time}}, {{model}}, {{adapter}} are filled in; found {output.run_name!r}",
        )
    yield from _impossible_names(output)


def _impossible_names(output: OutputSection) -> Iterator[tuple[str, str, str]]:
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
    """Return what is wrong with the name of a format; None for one of ours, or one that is installed."""
    if name in FILES:
        return None
    others = find_entry_points(OUTPUTS)
    return None if name in others else f"unknown format '{name}'{suggest(name, [*FILES, *others])}"


def bytes_of(size: str | None, default: int) -> int:
    """Return a size such as `20GB` or `20GiB` of the configuration in bytes; `default` for none."""
    found = _SIZE.fullmatch(size or "")
    if found is None:
        return default
    base = 1024 if found["binary"] else 1000
    return int(float(found["number"]) * base ** ("KMGT".index(found["unit"]) + 1))


def _wrong_name(name: str) -> str | None:
    """Return what is expected of a file's name that cannot be one everywhere."""
    return None if _FILE_NAME.fullmatch(name) else "expected letters, digits, spaces and '._+-', no dot first"


BASE_URL: Final = "model.base_url (--jarvis-base-url)"
EMBEDDING_URL: Final = "model.embedding_url"


def server_spec(section: ModelSection) -> ServerSpec:
    """Return where the server is and how it is asked; raise InputError without an address, or for one with a key."""
    where = "--jarvis-engine server"
    if section.base_url is None:
        raise InputError(
            f"{where}: which server? give its address with --jarvis-base-url (such as http://localhost:8000/v1) "
            "or in model.base_url of the configuration"
        )
    if section.base_model_id == DEMO:
        raise InputError(f"{where}: which model is the base? give the name it is served under with --jarvis-model")
    return ServerSpec(
        base_url=_address(section.base_url, BASE_URL),
        concurrency=section.concurrency,
        retries=section.retries,
        embedding_model=section.embedding_model,
        embedding_url=None if section.embedding_url is None else _address(section.embedding_url, EMBEDDING_URL),
    )


def refuse_addresses(section: ModelSection) -> None:
    """Raise InputError for an address of a server that none could have, or with a key; whatever engine is asked for.

    Addresses are printed where no server is asked too, and what is no address may hold a key as well.
    """
    if section.base_url is not None:
        _address(section.base_url, BASE_URL)
    if section.embedding_url is not None:
        _address(section.embedding_url, EMBEDDING_URL)


def _address(text: str, where: str) -> str:
    """Return a server's address without a closing slash, with the `/v1` that an address without a path lacks.

    The message of an error does not repeat what could hold a key.
    """
    try:
        parts = urlsplit(text)
        named = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise InputError(f"{where}: expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"{where}: an address stands in reports: give it without user, password or query, "
            "and a key in the environment variable JARVIS_API_KEY"
        )
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"
