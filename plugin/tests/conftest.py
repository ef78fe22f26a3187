"""What the tests of all folders share: reports made of nothing but numbers drawn with a seed."""

import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from pytest_jarvis.report.schema import (
    SCHEMA_VERSION,
    AdapterStatistics,
    FailureRow,
    Figure,
    GatePlan,
    Machine,
    Metadata,
    Provenance,
    Report,
    ResultRow,
    Sample,
    category_averages,
    failure_row,
    make_averages,
)
from pytest_jarvis.run.rows import make_row
from pytest_jarvis.stats.gate import Counts, judge_run
from pytest_jarvis.stats.sequential import judge_look
from pytest_jarvis.types import (
    AdapterProof,
    AdapterSpec,
    Category,
    DeviceMemory,
    EngineDescription,
    Failure,
    FinishReason,
    GenerationSettings,
    ModelSpec,
    PromptCase,
    QuantizationCoverage,
    Response,
    ResponseKey,
    Storage,
    text_note,
)

sys.path.insert(0, str(Path(__file__).parent))
"""Where `samples` is."""
MOST_WORKERS = 4
"""Processes that the tests are shared out to: each imports torch and loads its models anew."""
SLOW = "simulated GPUs, a browser, kernels of Triton, an installed wheel"
LEFT_OUT = pytest.StashKey[int]()
LEFT_OUT_BY_WORKER = "slow_tests_left_out"
TERMS = 65
STEP = 1 / (0.3 * TERMS)
LABELS = ("Commandes vocales", "Corrections vocales", "Choix de l'outil", "Domotique de la maison connectée")
WHEN = "2026-03-01T12:00:00+00:00"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs everything."""
    parser.addoption("--slow", action="store_true", help=f"also run the tests marked slow: {SLOW}")


def _names_folders_only(config: pytest.Config) -> bool:
    return all(Path(name).is_dir() for name in config.args)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the files of a folder out to the cores; a file or a test by name runs here, as does `-n 0`."""
    workers = min(MOST_WORKERS, os.cpu_count() or 1)
    chosen = getattr(config.option, "numprocesses", 0) is not None or config.option.usepdb or config.option.collectonly
    if chosen or workers < 2 or hasattr(config, "workerinput") or not _names_folders_only(config):
        return
    config.option.numprocesses = workers
    config.option.dist = "loadfile"


def pytest_configure(config: pytest.Config) -> None:
    """Have a session that a test starts take itself for no worker of ours."""
    config.addinivalue_line("markers", f"slow: runs with --slow, or when its file is named: {SLOW}")
    # Workers do not know themselves for what they are, so syrupy waits for their lists of snapshots in vain.
    config.addinivalue_line("filterwarnings", "ignore:syrupy. received:UserWarning")
    if hasattr(config, "workerinput"):
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let every other worker take its files from the end: torch is imported by as few workers as can be."""
    from xdist.scheduler import LoadFileScheduling

    class FromBothEnds(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            if self.nodes.index(node) % 2:
                self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return FromBothEnds(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take from a worker how many tests it left out: each of them leaves out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get(LEFT_OUT_BY_WORKER, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what did not run, and how to run it."""
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} slow tests were left out ({SLOW}); --slow runs them too")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a synthetic report holds."""

    gains: Mapping[str, float] = field(default_factory=lambda: {"jarvis": 0.4})
    """Adapter -> true relative gain of its relevance."""
    categories: int = 3
    prompts: int = 10
    """Per category."""
    replicates: int = 4
    seed: int = 1
    base_terms: float = 4.0
    text: str = "D'accord, j'ouvre l'application demandée."
    prompt_text: str = "ouvre la fenêtre"
    label: str | None = None
    failing: Sequence[tuple[int, str]] = ()
    """(prompt's place, arm): all its responses failed."""
    reason: str = "plus de mémoire"
    metrics: bool = True
    measured: bool = True


def _sample(recipe: Recipe, draw: random.Random, key: ResponseKey, level: float) -> Sample:
    terms = max(0, round(draw.gauss(level, 1.2)))
    found = draw.choice((0, 1, 2))
    finish_reason: FinishReason = "length" if draw.random() < 0.02 else "stop"
    tokens, seconds = draw.randint(8, 40), draw.uniform(0.5, 2)
    scores = {"keyword_match": found / 2, "jarvis_relevance": min(1.0, terms * STEP)}
    return Sample(
        response=Response(
            prompt_id=key[0],
            arm=key[1],
            replicate=key[2],
            text=recipe.text,
            thinking=None,
            finish_reason=finish_reason,
            prompt_tokens=12,
            new_tokens=tokens,
            duration_s=seconds,
            first_token_s=0.1,
        ),
        scores=scores if recipe.metrics else {},
        keywords_found=("ouvre", "fenêtre")[:found],
        terms_found=tuple(f"terme{number}" for number in range(terms)),
        tools_named=("open_app_tool", "mute_tool")[: draw.randint(0, 2)],
    )


def _row(recipe: Recipe, case: PromptCase, adapter: str, base: list[Sample], tuned: list[Sample]) -> ResultRow:
    cosine = {"cosine_similarity": Figure(finetuned=0.8)} if base and tuned and recipe.metrics else {}
    return msgspec.structs.replace(make_row(case, adapter, base, tuned, given=cosine), timestamp=WHEN)


def _categories(recipe: Recipe) -> list[Category]:
    found = []
    for number in range(recipe.categories):
        name = f"categorie_{number}"
        cases = tuple(
            PromptCase(
                prompt_id=f"c{number}-{place:04}",
                category=name,
                text=recipe.prompt_text,
                keywords=("ouvre", "fenêtre"),
                expected_tool="open_app_tool" if place % 2 else None,
            )
            for place in range(recipe.prompts)
        )
        label = recipe.label or f"{LABELS[number % 4]}{'' if number < 4 else f' {number}'}"
        found.append(Category(name=name, label=label, description="", cases=cases))
    return found


def build_report(recipe: Recipe) -> Report:
    """Return a report as a session would have made it of such responses."""
    draw = random.Random(recipe.seed)  # noqa: S311  # no secret
    categories = _categories(recipe)
    cases = [case for category in categories for case in category.cases]
    arms = ("base", *recipe.gains)
    failed = {(cases[place].prompt_id, arm) for place, arm in recipe.failing}
    rows: list[ResultRow] = []
    failures: list[FailureRow] = []
    for case in cases:
        samples: dict[str, list[Sample]] = {}
        for arm in arms:
            level = recipe.base_terms * (1 + recipe.gains.get(arm, 0.0)) + draw.uniform(-1, 1)
            made = [_sample(recipe, draw, (case.prompt_id, arm, number), level) for number in range(recipe.replicates)]
            samples[arm] = made if (case.prompt_id, arm) not in failed and recipe.measured else []
        rows += [_row(recipe, case, name, samples["base"], samples[name]) for name in recipe.gains]
        failures += [
            failure_row(
                Failure(
                    prompt_id=case.prompt_id,
                    arm=arm,
                    replicate=number,
                    stage="generate",
                    reason=text_note(recipe.reason),
                ),
                case.category,
            )
            for arm in arms
            if not samples[arm]
            for number in range(recipe.replicates)
        ]
    return _assemble(recipe, categories, rows, failures)


def _assemble(recipe: Recipe, categories: list[Category], rows: list[ResultRow], failures: list[FailureRow]) -> Report:
    planned = {category.name: len(category.cases) for category in categories}
    total = sum(planned.values())
    names = list(recipe.gains)
    by_prompt: dict[str, list[ResultRow]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt_id, []).append(row)
    whole = [group for group in by_prompt.values() if all(row.measured for row in group)] if recipe.metrics else []
    base = [[one.score("jarvis_relevance") or 0.0 for one in group[0].of_arm("base")] for group in whole]
    tuned = {
        name: [[one.score("jarvis_relevance") or 0.0 for one in group[place].of_arm(name)] for group in whole]
        for place, name in enumerate(names)
    }
    looks = (recipe.replicates,)
    decisions = dict(judge_look(base, tuned, plan=GatePlan(looks=looks)).decisions) if base else {}
    facts = Counts(
        prompts_planned=total,
        prompts_selected=total,
        prompts_measured=len(whole),
        responses_planned=total * recipe.replicates * (1 + len(names)),
        responses_failed=len(failures),
    )
    by_adapter = {
        name: AdapterStatistics(
            statistics=make_averages([row for row in rows if row.adapter == name], total, len(failures)),
            by_category=category_averages(categories, planned, [row for row in rows if row.adapter == name], failures),
        )
        for name in names
    }
    return Report(
        schema_version=SCHEMA_VERSION,
        complete=not failures,
        metadata=_metadata(recipe, looks),
        gate=judge_run({name: decisions.get(name) for name in names}, facts, GatePlan()),
        decisions=decisions,
        statistics=by_adapter[names[0]].statistics,
        by_category=by_adapter[names[0]].by_category,
        by_adapter=by_adapter,
        results=tuple(rows),
        failures=tuple(failures),
        provenance=_provenance(recipe),
    )


def _metadata(recipe: Recipe, looks: tuple[int, ...]) -> Metadata:
    return Metadata(
        base_model="demo",
        lora_adapter=next(iter(recipe.gains)),
        adapters={name: f"demo:{name}" for name in recipe.gains},
        device="CPU",
        timestamp=WHEN,
        engine="transformers",
        is_demo=True,
        is_real=True,
        quantization=Storage(format="nf4"),
        samples_per_prompt=recipe.replicates,
        plan=GatePlan(policy="proven", min_gain=0.05, alpha=0.05, looks=looks),
        full_selection=True,
    )


def _provenance(recipe: Recipe) -> Provenance:
    engine = EngineDescription(
        engine="transformers",
        base_model="demo",
        display_name="modèle de démonstration embarqué",
        is_demo=True,
        is_real=True,
        device="CPU",
        compute_dtype="bfloat16",
        coverage=QuantizationCoverage(storage=Storage(format="nf4"), share_4bit=1.0),
        adapters=tuple(
            AdapterProof(
                name=name,
                source=f"demo:{name}",
                sha256="0123456789abcdef" * 4,
                rank=8,
                targets=("q_proj", "v_proj"),
                weights=123_456,
                max_logit_change=1.5,
                base_unchanged=True,
                max_base_drift=0.0,
                live=True,
            )
            for name in recipe.gains
        ),
        batching="mixed",
        memory=(
            DeviceMemory(
                device="CPU", allocated_bytes=10**9, peak_bytes=2 * 10**9, reserved_bytes=None, total_bytes=10**10
            ),
        ),
    )
    return Provenance(
        versions={"python": "3.11.7", "torch": "2.9.0"},
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        machine=Machine(system="Linux", processor="x86_64", cores=2, python="3.11.7"),
        prompt_hash="a" * 64,
        dictionary_hash="b" * 64,
        seed=recipe.seed,
        generation=GenerationSettings(),
        model=ModelSpec(adapters=tuple(AdapterSpec(name=name, source=f"demo:{name}") for name in recipe.gains)),
        engine=engine,
        timings_s={"load": 1.2, "generate": 20.0, "embed": 0.5},
        mismatched_cosine=0.6,
    )


class ReportMaker:
    """Makes synthetic reports: `make_report(categories=8)`; the same one for the same changes, for it is frozen."""

    def __init__(self) -> None:
        self._made: dict[str, Report] = {}

    def __call__(self, **changes: object) -> Report:
        """Return the report of a recipe with these changes."""
        key = repr(sorted(changes.items()))
        if key not in self._made:
            self._made[key] = build_report(Recipe(**changes))  # type: ignore[arg-type]
        return self._made[key]


@pytest.fixture(scope="session")
def make_report() -> ReportMaker:
    """Return what makes synthetic reports."""
    return ReportMaker()


class Golden(SingleFileSnapshotExtension):
    """A text file for each test and report; `pytest --snapshot-update` writes them anew."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


@pytest.fixture
def golden(snapshot) -> SnapshotAssertion:
    """Return what compares with the golden files."""
    return snapshot.use_extension(Golden)


WARNINGS = (
    "error",
    # torch's own, when it is imported; gone when torch no longer scripts its helpers.
    "ignore:.torch.jit.script:DeprecationWarning",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out of a folder, and make warnings errors: not so for a user's benchmark."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for rule in reversed(WARNINGS):
                item.add_marker(pytest.mark.filterwarnings(rule), append=False)
    if config.option.slow or not _names_folders_only(config):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    config.stash[LEFT_OUT] = len(slow)
    if hasattr(config, "workerinput"):
        config.workeroutput[LEFT_OUT_BY_WORKER] = len(slow)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_step_summary(monkeypatch) -> None:
    """Keep the tests' reports out of the summary of the CI job that runs them."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
