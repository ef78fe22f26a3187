"""Sections on what was compared, how, and what failed."""

from collections.abc import Iterator
from typing import Final

from pytest_jarvis.render.blocks import Block, Digest, Facts, Part, Table, Text, case_link, field, prompt_count
from pytest_jarvis.render.french import labels
from pytest_jarvis.render.french.formats import NBSP, bar_percent, count_of, number, percent, seconds, size, typeset
from pytest_jarvis.render.french.notes import french_note
from pytest_jarvis.render.french.session import memory_of_a_run, reused_sentence
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.analysis.insights import Insights
from pytest_jarvis.report.schema import Report
from pytest_jarvis.types import TWIN_ARM, AdapterProof, GenerationSettings, KindCoverage

_MOST_FAILURES: Final = 200


def identity(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield what was compared, on what, when and by which rule."""
    metadata, plan, run = report.metadata, report.metadata.plan, report.provenance
    candidate, *others = metadata.adapters
    rule = table("labels.policies")[plan.policy].format(
        bar=bar_percent(plan.min_gain), error=percent(plan.alpha, 0), looks=labels.looks(plan.looks)
    )
    commit = word("labels.no_commit") if run.commit is None else labels.short_digest(run.commit, 12)
    is_twin, source = candidate == TWIN_ARM, f"{candidate} ({metadata.adapters[candidate]})"
    yield _facts(
        model=f"{labels.model_label(run.engine)} ({metadata.base_model})",
        twin=source if is_twin else "",
        adapter="" if is_twin else source,
        others=", ".join(f"{name} ({metadata.adapters[name]})" for name in others),
        storage=labels.storage(metadata.quantization),
        device=labels.device(metadata.device),
        engine=metadata.engine,
        date=metadata.timestamp.replace("T", " ").removesuffix("+00:00"),
        prompts=prompt_count(report.statistics),
        responses=word(
            "labels.responses_planned" if run.answers is None else "labels.responses_expected",
            each=metadata.samples_per_prompt,
            total=insights.responses_planned,
        ),
        rule=typeset(rule),
        seed="" if run.answers else str(run.seed),
        commit=f"{commit}, {word('labels.uncommitted')}" if run.dirty else commit,
    )


def _facts(**values: str) -> Facts:
    return Facts(tuple((table("labels.fields")[key], value) for key, value in values.items()))


def failures(report: Report, insights: Insights) -> Iterator[Block]:
    """Yield the failures by arm and stage; on the page also one by one."""
    if not insights.failures:
        yield (
            Text(word("labels.no_failure"), "good")
            if report.complete
            else Text(word("labels.missing_responses"), "warn")
        )
        return
    yield Table(
        columns=(field("arm", 14, "text"), field("stage", 14, "text"), field("failed", 9), field("reason", 38, "text")),
        rows=tuple(
            (one.arm, table("labels.stages").get(one.stage, one.stage), str(one.responses), french_note(one.reason))
            for one in insights.failures
        ),
    )
    links = {row.prompt_id: case_link(row, row.adapter) for row in report.of_adapter(report.metadata.lora_adapter)}
    more = len(report.failures) - _MOST_FAILURES
    heads = ("prompt", "arm", "response", "stage", "reason")
    yield Part(
        name=word("labels.failed_responses", count=len(report.failures)),
        blocks=(
            Table(
                columns=tuple(field(key, kind="text") for key in heads),
                rows=tuple(
                    (
                        links.get(one.prompt_id, one.prompt_id),
                        one.arm,
                        str(one.replicate + 1),
                        table("labels.stages").get(one.stage, one.stage),
                        french_note(one.reason),
                    )
                    for one in report.failures[:_MOST_FAILURES]
                ),
            ),
            *((Text(word("labels.more_in_json", count=more), "note"),) if more > 0 else ()),
        ),
    )


def provenance(report: Report) -> Iterator[Block]:
    """Yield what is needed to trust the run, or to repeat it."""
    run = report.provenance
    engine, coverage, server = run.engine, run.engine.coverage, run.engine.server
    yield from map(_adapter_facts, engine.adapters)
    yield Facts(
        (
            *_facts(
                model=f"{labels.model_label(engine)} ({engine.base_model})",
                coverage=labels.storage(coverage.storage),
                share_4bit="" if coverage.share_4bit is None else percent(coverage.share_4bit),
                not_4bit=", ".join(coverage.not_4bit),
            ).rows,
            *(
                (f"{NBSP}{NBSP}{table('labels.kinds').get(kind.kind, kind.kind)}", _weights(kind))
                for kind in coverage.kinds
            ),
            *_facts(
                compute=labels.compute_dtype(engine.compute_dtype),
                server="" if server is None else labels.server_sentence(server),
                served="" if server is None else labels.served_sentence(server),
                embedding=engine.embedding or "",
                batching="" if run.answers else table("labels.batching")[engine.batching],
                generation="" if run.answers else _generation(run.generation),
                system_prompt=run.generation.system_prompt or "",
            ).rows,
        )
    )
    timings = (f"{table('labels.timings').get(name, name)} {seconds(took)}" for name, took in run.timings_s.items())
    yield _facts(
        prompt_hash=Digest(run.prompt_hash),
        dictionary_hash=Digest(run.dictionary_hash),
        commit=run.commit or "",
        machine=", ".join(
            filter(None, (run.machine.system, run.machine.processor, word("labels.cores", cores=run.machine.cores)))
        ),
        python=run.machine.python,
        versions=", ".join(f"{name} {version}" for name, version in run.versions.items()),
        timings=", ".join(timings),
        reused=reused_sentence(run.responses_reused, run.responses_generated),
        memory=memory_of_a_run(engine),
        notes=" ; ".join(map(french_note, run.notes)),
    )


def _weights(kind: KindCoverage) -> str:
    return ", ".join(
        word("labels.weight_count", count=count, storage=storage, size=size(kind.bytes.get(storage, 0)))
        for storage, count in kind.weights.items()
    )


def _adapter_facts(adapter: AdapterProof) -> Facts:
    return _facts(
        adapter=f"{adapter.name} ({adapter.source})",
        digest=Digest(adapter.sha256 or ""),
        rank="" if adapter.rank is None else str(adapter.rank),
        targets=", ".join(adapter.targets),
        weights="" if adapter.weights is None else count_of(adapter.weights),
        proof=labels.adapter_effect(adapter),
    )


def _generation(settings: GenerationSettings) -> str:
    return ", ".join(
        [
            settings.template,
            word("labels.greedy")
            if settings.is_greedy
            else word("labels.sampling", temperature=settings.temperature, top_p=settings.top_p),
            f"max_new_tokens {settings.max_new_tokens}",
            f"max_response_chars {settings.max_response_chars}",
            *([f"timeout_s {number(settings.timeout_s, 0)}"] if settings.timeout_s else []),
            *([word("labels.thinking")] if settings.thinking else []),
        ]
    )
