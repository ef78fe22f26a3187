"""The flat keys of `report.json`: `keyword_match_base`, `avg_relevance_finetuned`, a sample's `tokens`.

In memory a sample has its `Response` and its scores by metric, and rows and averages have `Figure`s by metric. Files
have one key for each; the registry defines them. All functions change the documents (decoded JSON) in place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from pytest_jarvis.metrics.registry import BUILT_IN, KEYWORD_COUNT, RELEVANCE, TOOL_ROUTING, MetricSpec
from pytest_jarvis.metrics.tool_choice import RIGHT
from pytest_jarvis.report.schema import ResultRow, relative_gain
from pytest_jarvis.types import Response

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

_ARMS: Final = ("base", "finetuned")
"""Fields of a `Figure`; a metric of pairs has only the last."""

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
    """Replace the keys of a file by the structure of a `Report`'s document; return it.

    Malformed parts stay as they are.
    """
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
