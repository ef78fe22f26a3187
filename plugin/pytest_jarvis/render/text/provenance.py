"""What was compared and where it comes from, as pages of `report.txt`."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_jarvis.render.french import bar_percent, count_of, labels, percent, seconds, typeset
from pytest_jarvis.render.french.labels import FIELDS
from pytest_jarvis.render.french.memory import memory_of_a_run
from pytest_jarvis.render.french.serving import served_proof_sentence, served_sentence, server_sentence
from pytest_jarvis.render.french.store import REUSED, reused_sentence
from pytest_jarvis.render.text.layout import pairs
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import Report
from pytest_jarvis.types import TWIN_ARM, AdapterProof, GenerationSettings


def identity(report: Report, insights: Insights) -> list[str]:
    """Return what was compared, on what, when and by which rule."""
    metadata, plan = report.metadata, report.metadata.plan
    candidate, *others = metadata.adapters

    rule = labels.POLICIES[plan.policy].format(
        bar=bar_percent(plan.min_gain), error=percent(plan.alpha, 0), looks=labels.looks(plan.looks)
    )
    responses = labels.responses_planned(metadata.samples_per_prompt, insights.responses_planned)
    return pairs(
        [
            (FIELDS["model"], f"{metadata.base_model_label} ({metadata.base_model})"),
            (FIELDS["twin" if candidate == TWIN_ARM else "adapter"], f"{candidate} ({metadata.adapters[candidate]})"),
            (FIELDS["others"], ", ".join(f"{name} ({metadata.adapters[name]})" for name in others)),
            (FIELDS["storage"], labels.storage(metadata.quantization)),
            (FIELDS["device"], labels.device(metadata.device)),
            (FIELDS["engine"], metadata.engine),
            (FIELDS["date"], metadata.timestamp.replace("T", " ").removesuffix("+00:00")),
            (FIELDS["prompts"], f"{report.statistics.total_tests}/{report.statistics.planned_tests}"),
            (FIELDS["responses"], responses),
            (FIELDS["rule"], typeset(rule)),
        ]
    )


def provenance(report: Report) -> Iterator[str]:
    """Return all that is needed to trust the run, or to do it again."""
    facts = report.provenance
    engine = facts.engine
    share = engine.coverage.share_4bit
    commit = labels.NO_COMMIT if facts.commit is None else labels.short(facts.commit, 12)
    if facts.dirty:
        commit = f"{commit}, {labels.UNCOMMITTED}"
    for adapter in engine.adapters:
        yield from _adapter(adapter)
        yield ""
    yield from pairs(
        [
            (FIELDS["model"], f"{labels.model_label(engine)} ({engine.base_model})"),
            (FIELDS["coverage"], labels.storage(engine.coverage.label)),
            (FIELDS["share_4bit"], "" if share is None else percent(share)),
            *(
                (
                    f"  {labels.KINDS.get(kind.kind, kind.kind)}",
                    ", ".join(
                        labels.stored(count, storage, kind.bytes.get(storage, 0))
                        for storage, count in kind.weights.items()
                    ),
                )
                for kind in engine.coverage.kinds
            ),
            (FIELDS["compute"], labels.quantised(engine.compute_dtype)),
            (FIELDS["server"], "" if engine.server is None else server_sentence(engine.server)),
            (FIELDS["served"], "" if engine.server is None else served_sentence(engine.server)),
            (FIELDS["embedding"], engine.embedding or ""),
            (FIELDS["batching"], labels.BATCHING[engine.batching]),
            (FIELDS["generation"], _generation(facts.generation)),
            (FIELDS["system_prompt"], facts.generation.system_prompt or ""),
            (FIELDS["seed"], str(facts.seed)),
            (FIELDS["prompt_hash"], labels.short(facts.prompt_hash)),
            (FIELDS["dictionary_hash"], labels.short(facts.dictionary_hash)),
            (FIELDS["commit"], commit),
            (FIELDS["machine"], labels.machine(facts.machine.system, facts.machine.processor, facts.machine.cores)),
            (FIELDS["python"], facts.machine.python),
            (FIELDS["versions"], ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
            (
                FIELDS["timings"],
                ", ".join(
                    f"{labels.TIMINGS.get(name, name)} {seconds(value)}" for name, value in facts.timings_s.items()
                ),
            ),
            (REUSED, reused_sentence(facts.responses_reused, facts.responses_generated)),
            (FIELDS["memory"], memory_of_a_run(engine)),
            (FIELDS["notes"], " ; ".join(facts.notes)),
        ]
    )


def _adapter(adapter: AdapterProof) -> list[str]:
    return pairs(
        [
            (FIELDS["adapter"], f"{adapter.name} ({adapter.source})"),
            (FIELDS["digest"], labels.short(adapter.sha256)),
            (FIELDS["rank"], "" if adapter.rank is None else str(adapter.rank)),
            (FIELDS["targets"], ", ".join(adapter.targets)),
            (FIELDS["weights"], "" if adapter.weights is None else count_of(adapter.weights)),
            (
                FIELDS["proof"],
                labels.adapter_proof_sentence(adapter.max_logit_change, base_unchanged=adapter.base_unchanged)
                or served_proof_sentence(adapter),
            ),
        ]
    )


def _generation(settings: GenerationSettings) -> str:
    parts = [
        settings.template,
        labels.GREEDY if settings.is_greedy else labels.sampling(settings.temperature, settings.top_p),
        f"max_new_tokens {settings.max_new_tokens}",
        f"max_response_chars {settings.max_response_chars}",
    ]
    if settings.enable_thinking:
        parts.append(labels.THINKING)
    return ", ".join(parts)
