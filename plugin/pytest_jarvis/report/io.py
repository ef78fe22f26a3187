"""Write and strictly read `report.json`, with its flat keys: `keyword_match_base`, `avg_relevance_finetuned`, `tokens`.

In memory a sample has its `Response` and its scores by metric, and rows and averages have `Figure`s by metric. Files
have one key for each; the registry defines them. What flattens and nests changes documents (decoded JSON) in place.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pytest_jarvis.files import (
    MOST_DATA_BYTES,
    InputError,
    convert,
    decode_json,
    describe_syntax_error,
    read_text,
    well_formed,
    write_atomically,
)
from pytest_jarvis.metrics.registry import BUILT_IN, KEYWORD_COUNT, RELEVANCE, TOOL_ROUTING, MetricSpec
from pytest_jarvis.metrics.tool_choice import RIGHT
from pytest_jarvis.report.analysis.thresholds import follows_from_rows
from pytest_jarvis.report.schema import REPORT_FILE, SCHEMA_VERSION, Report, ResultRow, relative_gain
from pytest_jarvis.stats.gate import withdraw
from pytest_jarvis.types import Response

_DIGEST: Final = "digest"  # Key of the SHA-256 of the rest of the file; reports of earlier versions lack it.
_NOT_MEASURED: Final = "not measured (server)"
_STORAGES: Final = {
    "NF4 (double quantisation)": "nf4",
    "FP4": "fp4",
    "4 bits": "4bit",
    "16 bits": "16bit",
    "32 bits": "32bit",
    _NOT_MEASURED: "server",
    "none": "none",
}
"""Label of a storage in schema 1 -> its format."""


def encode_report(report: Report) -> bytes:
    """Return the report as indented UTF-8 JSON; a number that is not finite becomes null."""
    document = flatten(msgspec.to_builtins(report))
    try:
        digest = _digest(document)
    except UnicodeEncodeError:
        document = well_formed(document)
        digest = _digest(document)
    return msgspec.json.format(msgspec.json.encode(document | {_DIGEST: digest}), indent=1) + b"\n"


def _digest(document: dict[str, Any]) -> str:
    """Return the SHA-256 of a report's JSON, whatever its layout and the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.json` in `folder`, atomically, and return its path; InputError when there is one already."""
    path = folder / REPORT_FILE
    if path.exists():
        raise InputError(f"{path}: there is already a report; it is not replaced")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, encode_report(report))
    return path


def load_report(path: str | Path) -> Report:
    """Return the report in a file or a folder, of any schema so far; InputError when there is none to read."""
    file = Path(path)
    if file.is_dir():
        file = file / REPORT_FILE
    text = read_text(file, MOST_DATA_BYTES)
    try:
        document = decode_json(text)
    except msgspec.DecodeError as error:
        raise InputError(f"{file}: not a whole JSON file: {describe_syntax_error(error, text)}") from None
    except RecursionError:
        raise InputError(f"{file}: not a report of pytest-jarvis: brackets are nested too deep") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{file}: not a report of pytest-jarvis: no schema_version at its top")
    if version not in range(1, SCHEMA_VERSION + 1):
        raise InputError(
            f"{file}: schema_version {version}, this pytest-jarvis reads 1 to {SCHEMA_VERSION}; "
            "read it with the newer version that wrote it"
        )
    digest = document.pop(_DIGEST, None)
    altered = digest is not None and digest != _digest(document)
    if version == 1:
        document = _from_schema_1(document)
    if version < SCHEMA_VERSION:
        document = _from_schema_2(document)
    report = convert(nest(document), Report, str(file))
    if fault := _find_contradiction(report):
        raise InputError(f"{file}: not a whole report: {fault}; take the file that the run wrote")
    if altered or (digest is None and not follows_from_rows(report)):
        return msgspec.structs.replace(report, gate=withdraw(report.gate), regression=None)
    return report


def _find_contradiction(report: Report) -> str | None:
    """Return what no run writes, and no reader can show."""
    metadata, known = report.metadata, set(report.metadata.adapters)
    if metadata.lora_adapter not in known or known != set(report.by_adapter):
        return "metadata.adapters, lora_adapter and by_adapter name different adapters"
    if not metadata.plan.looks or min(metadata.plan.looks) < 1:
        return "metadata.plan.looks has no number of responses"
    if not known.issuperset([*report.decisions, *(row.adapter for row in report.results)]):
        return "decisions or results are of adapters that metadata.adapters lacks"
    if any(set(one.by_category) != set(report.by_category) for one in report.by_adapter.values()):
        return "by_category differs from that of by_adapter"
    return None


def _from_schema_1(document: dict[str, Any]) -> dict[str, Any]:
    """Return a report's JSON in schema 2: sentences become notes of code `text`."""

    def engine(found: object) -> object:
        found = _changed(found, coverage=_coverage, notes=_each(_note))
        return _changed(found, compute_dtype=lambda name: "server" if name == _NOT_MEASURED else name)

    def metadata(found: object) -> object:
        if isinstance(found, dict):
            found.pop("base_model_label", None)
        return _changed(found, quantization=_storage)

    def setting(found: object) -> object:
        is_storage = isinstance(found, dict) and found.get("name") == "quantization"
        return _changed(found, stored=_storage, new=_storage) if is_storage else found

    changes: dict[str, Callable[[object], object]] = {
        "metadata": metadata,
        "failures": _each(lambda row: _changed(row, reason=_note)),
        "provenance": lambda found: _changed(found, engine=engine, notes=_each(_note)),
        "regression": lambda found: _changed(found, changes=_each(setting)),
    }
    changed = {name: changes[name](value) if name in changes else value for name, value in document.items()}
    return {**changed, "schema_version": 2}


_RENAMED: Final = re.compile(r"(avg_)?keyword_match(?=_base|_finetuned|$)")
_GONE: Final = re.compile(r"(avg_)?understood(_base|_finetuned)?|clean_(base|finetuned|samples)")


def _from_schema_2(found: object) -> Any:  # any JSON
    """Return a report's JSON in schema 3: keywords are shares, and clean commands are gone."""
    if isinstance(found, list):
        return [_from_schema_2(one) for one in found]
    if not isinstance(found, dict):
        return found
    if found.get("code") == "no_clean_answer":
        return _note(str(found.get("values")))
    kept = {
        _RENAMED.sub(lambda match: f"{match[1] or ''}keyword_share", name): _from_schema_2(value)
        for name, value in found.items()
        if not _GONE.fullmatch(name)
    }
    return {**kept, "schema_version": SCHEMA_VERSION} if "schema_version" in kept else kept


def _changed(table: object, **changes: Callable[[object], object]) -> object:
    """Return a JSON object with some values replaced; anything else as it is, for the type check to refuse."""
    if not isinstance(table, dict):
        return table
    return {name: changes[name](value) if name in changes else value for name, value in table.items()}


def _each(change: Callable[[object], object]) -> Callable[[object], object]:
    return lambda found: [change(one) for one in found] if isinstance(found, list) else found


def _note(sentence: object) -> object:
    return {"code": "text", "values": {"text": sentence}}


def _coverage(found: object) -> object:
    if not isinstance(found, dict) or "label" not in found:
        return found
    return {"storage": _storage(found["label"]), **{name: one for name, one in found.items() if name != "label"}}


def _storage(label: object) -> object:
    """Return a storage from its label in schema 1; an unknown label stays text."""
    method = str(label).removeprefix("quantised by its checkpoint (")
    if method != label:
        return {"format": "checkpoint", "method": method.removesuffix(")")}
    return {"format": _STORAGES[str(label)]} if label in _STORAGES else {"format": "text", "method": label}


_SAMPLE_KEYS: Final[Mapping[str, str]] = {"jarvis_relevance": "relevance", "cosine_similarity": "cosine"}
_ROW_KEYS: Final[Mapping[str, str]] = {"cosine_similarity": "cosine_similarity_score"}
_AVERAGE_KEYS: Final[Mapping[str, str]] = {"jarvis_relevance": "relevance", "characters": "chars"}
"""Keys that differ from the metric's name. A new metric needs no entry."""

_RESPONSE_KEYS: Final = {
    {"new_tokens": "tokens", "duration_s": "seconds"}.get(field, field): field
    for field in Response.__struct_fields__
    if field != "prompt_id"
}
"""Key of a sample -> field of its response."""
_SERVER_KEYS: Final = ("base_url", "concurrency", "retries", "embedding_model", "embedding_url")
"""Keys of a model that stand in a group of their own, null where no server is asked."""

_ARMS: Final = ("base", "finetuned")  # Fields of a `Figure`; a metric of pairs has only the last.

Document = dict[str, Any]
Keys = tuple[str, ...]


def _keys(spec: MetricSpec, name: str) -> Keys:
    return (name,) if spec.per == "pair" else (f"{name}_base", f"{name}_finetuned")


def flatten(document: Document) -> Document:
    """Replace the structure of a `Report`'s document by the keys of its file; return it."""
    pairs = {name for name, metric in document["metrics"].items() if metric["spec"]["per"] == "pair"}
    for row in document["results"]:
        row["samples"] = [_flat_sample(sample, pairs) for sample in row["samples"]]
        row.update(_spread(row.pop("figures"), _ROW_KEYS_OF))
        for key, is_base in (("keyword_match_base", True), ("keyword_match_finetuned", False)):
            own = [sample for sample in row["samples"] if (sample["arm"] != row["adapter"]) is is_base]
            row[key] = len(own[0]["keywords_found"]) if own else None
    for averages in _averages_of(document):
        figures = averages.pop("figures")
        means = figures.get(RELEVANCE, {})
        averages.update(_spread(figures, _AVERAGE_KEYS_OF))
        averages["relevance_gain"] = relative_gain(means.get("base"), means.get("finetuned"))
    _flatten_model(document["provenance"])
    return document


def nest(document: Document) -> Document:
    """Replace the keys of a file by the structure of a `Report`'s document; malformed parts stay as they are."""
    for row in _objects(document.get("results")):
        nest_row(row)
    for averages in _averages_of(document):
        averages.pop("relevance_gain", None)
        averages["figures"] = _gather(averages, _AVERAGE_KEYS_OF)
    for provenance in _objects([document.get("provenance")]):
        _nest_model(provenance)
    return document


def nest_row(row: Document) -> Document:
    """Replace the flat keys of a row by the structure of a `ResultRow`; return it."""
    for sample in _objects(row.get("samples")):
        nest_sample(sample, row.get("prompt_id"))
    row["figures"] = _gather(row, _ROW_KEYS_OF)
    # The row's count is that of its first replicates; the means are those of the samples.
    row["figures"].pop(KEYWORD_COUNT, None)
    return row


def nest_sample(sample: Document, prompt_id: object) -> Document:
    """Replace the flat keys of a sample by the structure of a `Sample`; return it."""
    response = {field: sample.pop(key) for key, field in _RESPONSE_KEYS.items() if key in sample}
    scores: Document = {}
    for name in _SCORES:
        if (value := sample.pop(_SAMPLE_KEYS.get(name, name), None)) is not None:
            scores[name] = float(value) if isinstance(value, bool) else value
    if isinstance(routing := sample.get("routing"), dict):
        scores.setdefault(TOOL_ROUTING, float(routing.get("reason") in RIGHT))
    for key in ("extra", "pair"):
        if isinstance(added := sample.pop(key, None), dict):
            scores |= added
    sample |= {"response": response | {"prompt_id": prompt_id}, "scores": scores}
    return sample


def flat_figures(row: ResultRow) -> dict[str, float | None]:
    """Return a row's figures by flat key: those of the report, then those of custom metrics."""
    added = sorted({name for sample in row.samples for name in sample.scores} - BUILT_IN.keys())
    keys_of = _ROW_KEYS_OF | {name: (f"{name}_base", f"{name}_finetuned") for name in added}
    return {
        key: getattr(row.figure(name), arm)
        for name, keys in keys_of.items()
        for key, arm in zip(keys, _ARMS[-len(keys) :], strict=True)
    }


def _flatten_model(provenance: Document) -> None:
    """Give the model of a provenance its keys: the batch size, a group for a server, and no storage that it decides."""
    model = provenance["model"]
    server = {key: model.pop(key) for key in _SERVER_KEYS}
    is_asked = server["base_url"] is not None
    model |= {
        "batch_size": provenance["generation"].pop("batch_size"),
        "quantization": None if is_asked else model["quantization"],
        "server": server if is_asked else None,
    }


def _nest_model(provenance: Document) -> None:
    model, generation = provenance.get("model"), provenance.get("generation")
    if not isinstance(model, dict) or not isinstance(generation, dict):
        return
    generation["batch_size"] = model.pop("batch_size", None)
    if isinstance(server := model.pop("server", None), dict):
        model |= server
    if model.get("quantization") is None:
        model.pop("quantization", None)


def _flat_sample(sample: Document, pairs: Collection[str]) -> Document:
    response, scores = sample.pop("response"), sample.pop("scores")
    flat: Document = {key: response[field] for key, field in _RESPONSE_KEYS.items()}
    flat |= {key: sample[key] for key in ("keywords_found", "terms_found", "tools_named")}
    flat |= {_SAMPLE_KEYS.get(name, name): scores.pop(name, None) for name in _SCORES}
    flat["extra"] = {name: value for name, value in scores.items() if name not in pairs}
    flat["pair"] = {name: value for name, value in scores.items() if name in pairs}
    return flat | sample


def _spread(figures: Document, keys_of: Mapping[str, Keys]) -> Document:
    flat: Document = {}
    for name, keys in keys_of.items():
        figure = figures.get(name, {})
        flat |= {key: figure.get(arm) for key, arm in zip(keys, _ARMS[-len(keys) :], strict=True)}
    return flat


def _gather(document: Document, keys_of: Mapping[str, Keys]) -> Document:
    figures: Document = {}
    for name, keys in keys_of.items():
        values = [document.pop(key, None) for key in keys]
        if any(value is not None for value in values):
            figures[name] = {"base": values[0] if len(values) == 2 else None, "finetuned": values[-1]}
    return figures


def _averages_of(document: Document) -> Iterator[Document]:
    for part in _objects([document, *_values(document.get("by_adapter"))]):
        yield from _objects([part.get("statistics")])
        yield from _objects(category.get("averages") for category in _objects(_values(part.get("by_category"))))


def _values(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else ()


def _objects(values: object) -> Iterator[Document]:
    """Yield the objects in a list; leave others to the reader that checks types."""
    if isinstance(values, Iterable) and not isinstance(values, str):
        yield from (value for value in values if isinstance(value, dict))


_SCORES: Final = tuple(name for name, metric in BUILT_IN.items() if metric.fact is None)
_ROW_KEYS_OF: Final = {name: _keys(BUILT_IN[name].spec, _ROW_KEYS.get(name, name)) for name in _SCORES}
_AVERAGE_KEYS_OF: Final = {
    name: _keys(metric.spec, f"avg_{_AVERAGE_KEYS.get(name, name)}") for name, metric in BUILT_IN.items()
}
