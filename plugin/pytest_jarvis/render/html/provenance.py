"""Where the numbers come from: the run, the models, the adapters, what was set and what it ran on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_jarvis.render.french import DASH, number, percent, seconds
from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.french.labels import BATCHING, FIELDS, NO, YES, device, model_label, quantised, storage
from pytest_jarvis.render.french.labels import machine as machine_label
from pytest_jarvis.render.french.memory import memory_of_a_run
from pytest_jarvis.render.french.serving import served_proof_sentence, served_sentence, server_sentence
from pytest_jarvis.render.french.store import REUSED, reused_sentence
from pytest_jarvis.render.html.markup import Html, element, foreign, join
from pytest_jarvis.render.html.tables import table
from pytest_jarvis.report.schema import Provenance, Report
from pytest_jarvis.types import AdapterProof, EngineDescription, GenerationSettings, QuantizationCoverage


def provenance(report: Report) -> Html:
    """Return the folded part of the page that says how to trust the run, or to do it again."""
    origin = report.provenance
    engine = origin.engine
    return element(
        "details",
        element("summary", wording.PROVENANCE_SUMMARY),
        element(
            "div",
            _facts(wording.RUN, _run(report)),
            _facts(wording.MODEL, _model(engine)),
            _facts(wording.GENERATION, _generation(origin.generation)),
            _facts(wording.VERSIONS, origin.versions),
            class_="facts-grid",
        ),
        _adapters(engine),
        _coverage(engine.coverage),
        _notes(origin),
    )


def _facts(title: str, facts: Mapping[str, str | Html]) -> Html:
    return element(
        "section",
        element("h3", title),
        element("dl", *(join(element("dt", name), element("dd", _own(value))) for name, value in facts.items())),
    )


def _own(value: str | Html) -> Html:
    return value if isinstance(value, Html) else foreign(value)


def _run(report: Report) -> dict[str, str | Html]:
    origin, plan = report.provenance, report.metadata.plan
    commit = origin.commit or wording.UNKNOWN
    machine = origin.machine
    facts: dict[str, str | Html] = {
        wording.DATE: report.metadata.timestamp,
        wording.PLAN: wording.plan(plan.looks, plan.alpha, plan.min_gain, plan.policy),
        wording.COMMIT: f"{commit}, {wording.DIRTY}" if origin.dirty else commit,
        wording.PROMPT_HASH: _digest(origin.prompt_hash),
        wording.DICTIONARY_HASH: _digest(origin.dictionary_hash),
        wording.MACHINE: f"{machine_label(machine.system, machine.processor, machine.cores)}, Python {machine.python}",
        wording.TIMINGS: ", ".join(
            f"{wording.TIMING_NAMES.get(name, name)} {seconds(value)}" for name, value in origin.timings_s.items()
        ),
    }
    if reused := reused_sentence(origin.responses_reused, origin.responses_generated):
        facts[REUSED] = reused
    return facts


def _model(engine: EngineDescription) -> dict[str, str | Html]:
    share = engine.coverage.share_4bit
    weights = storage(engine.coverage.label)
    if share is not None:
        weights = f"{weights}, {percent(share)} {wording.IN_4_BITS}"
    return {
        wording.MODEL: f"{model_label(engine)} ({engine.base_model})",
        wording.ENGINE: engine.engine,
        wording.DEVICE: device(engine.device),
        wording.DTYPE: quantised(engine.compute_dtype),
        wording.WEIGHTS: weights,
        wording.BATCHING: BATCHING[engine.batching],
        wording.MEMORY: memory_of_a_run(engine) or DASH,
        **_server(engine),
        **engine.versions,
    }


def _server(engine: EngineDescription) -> dict[str, str | Html]:
    """Return what a server says of itself, and which model made the cosine where that is not the base."""
    facts: dict[str, str | Html] = {}
    if engine.server is not None:
        facts[FIELDS["server"]] = server_sentence(engine.server)
        facts[FIELDS["served"]] = served_sentence(engine.server)
    if engine.embedding is not None:
        facts[FIELDS["embedding"]] = engine.embedding
    return facts


def _generation(settings: GenerationSettings) -> dict[str, str | Html]:
    values: dict[str, object] = {name: getattr(settings, name) for name in wording.GENERATION_NAMES}
    facts: dict[str, str | Html] = {wording.GENERATION_NAMES[name]: _setting(value) for name, value in values.items()}
    if settings.system_prompt is not None:
        facts[wording.SYSTEM_PROMPT] = element("p", settings.system_prompt, class_="said", dir="auto")
    return facts


def _setting(value: object) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return YES if value else NO
    return str(value).replace(".", ",") if isinstance(value, float) else str(value)


def _adapters(engine: EngineDescription) -> Html | None:
    """Return a table of the adapters; an A/A run has none."""
    if not engine.adapters:
        return None
    rows = (_adapter(proof) for proof in engine.adapters)
    return join(element("h3", wording.ADAPTERS), table(wording.ADAPTER_HEADS, rows, texts=range(3)))


def _adapter(proof: AdapterProof) -> list[str]:
    return [
        foreign(proof.name),
        foreign(proof.source),
        DASH if proof.sha256 is None else _digest(proof.sha256),
        DASH if proof.rank is None else str(proof.rank),
        DASH if proof.weights is None else _thousands(proof.weights),
        served_proof_sentence(proof) or number(proof.max_logit_change, 3),
        DASH if proof.base_unchanged is None else YES if proof.base_unchanged else NO,
    ]


def _coverage(coverage: QuantizationCoverage) -> Html | None:
    if not coverage.kinds:
        return None
    rows = [[foreign(kind.kind), _counts(kind.weights)] for kind in coverage.kinds]
    missing = coverage.not_4bit
    return join(
        element("h3", wording.COVERAGE),
        table(wording.COVERAGE_HEADS, rows, texts=range(2)),
        element("p", wording.NOT_4_BITS, " ", foreign(", ".join(missing)), class_="notice warn") if missing else None,
    )


def _counts(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {_thousands(count)}" for name, count in weights.items())


def _notes(origin: Provenance) -> Html | None:
    notes: Iterable[str] = origin.notes
    items = [element("li", foreign(note)) for note in notes]
    return join(element("h3", wording.NOTES), element("ul", *items)) if items else None


def _digest(value: str) -> Html:
    return element("code", value, class_="digest")


def _thousands(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")
