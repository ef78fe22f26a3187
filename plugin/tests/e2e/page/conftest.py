"""Pages of reports whose every response is given, scored and decided by the real code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pytest
from reports import assemble, failed, with_cosine
from samples import sample

from pytest_jarvis.inputs.config import MetricsSection
from pytest_jarvis.render.html.page import render_html
from pytest_jarvis.report.analysis.insights import insights
from pytest_jarvis.report.schema import Report, ResultRow, Sample
from pytest_jarvis.run.rows import Reader, make_sample
from pytest_jarvis.types import BASE_ARM, Category, PromptCase, Tool

_TERMS = {
    "volume_up_tool": ("volume", "plus fort", "augmente", "son"),
    "open_app_tool": ("ouvre", "application", "lance", "logiciel"),
    "screenshot_tool": ("capture", "écran", "image", "photo"),
}
_TOOLS = [Tool(name=name, description=name, parameters={}, terms=terms) for name, terms in _TERMS.items()]
_READER = Reader(_TOOLS, MetricsSection(tool_routing=False))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prompt and what each arm answered, by replicate; None is a failure."""

    prompt_id: str
    base: Sequence[str | None]
    tuned: Sequence[str | None] | Mapping[str, Sequence[str | None]]
    """Of the only adapter, or by adapter."""
    text: str = "monte le son"
    category: str = "tool_routing"
    keywords: tuple[str, ...] = ("son", "volume")
    expected_tool: str | None = None
    intended: str | None = None
    reason: str = "no answer after 30 s"

    @property
    def case(self) -> PromptCase:
        """Return it as the package knows it."""
        return PromptCase(
            prompt_id=self.prompt_id,
            category=self.category,
            text=self.text,
            keywords=self.keywords,
            expected_tool=self.expected_tool,
            intended=self.intended,
        )

    def answers(self, arm: str) -> Sequence[str | None]:
        """Return what an arm answered."""
        if arm == BASE_ARM:
            return self.base
        return self.tuned[arm] if isinstance(self.tuned, Mapping) else self.tuned


WriteReport = Callable[..., Report]


@pytest.fixture(scope="session")
def asked() -> type[Asked]:
    """Give the class of the prompts that `write_report` takes."""
    return Asked


@pytest.fixture(scope="session")
def write_report() -> WriteReport:
    """Give `write_report(asked, adapters=..., labels=..., metadata=...)`: scored and decided by the real code."""

    def write(
        asked: Sequence[Asked],
        *,
        adapters: Sequence[str] = ("jarvis",),
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Report:
        rows = [_row(one, adapter) for adapter in adapters for one in asked]
        failures = [
            failed(one.case, arm, replicate, one.reason, "timeout")
            for one in asked
            for arm in (BASE_ARM, *adapters)
            for replicate, answer in enumerate(one.answers(arm))
            if answer is None
        ]
        categories = [
            Category(
                name=name,
                label=(labels or {}).get(name, name),
                description="",
                cases=tuple(one.case for one in asked if one.category == name),
            )
            for name in dict.fromkeys(one.category for one in asked)
        ]
        report = assemble(categories, rows, failures, adapters=adapters, replicates=len(asked[0].base))
        return msgspec.structs.replace(report, metadata=msgspec.structs.replace(report.metadata, **(metadata or {})))

    return write


def _row(one: Asked, adapter: str) -> ResultRow:
    base, tuned = (
        [_sample(one, arm, place, answer) for place, answer in enumerate(one.answers(arm)) if answer is not None]
        for arm in (BASE_ARM, adapter)
    )

    return with_cosine(one.case, adapter, base, tuned)


def _sample(one: Asked, arm: str, replicate: int, text: str) -> Sample:
    seconds, tokens = 0.25 if arm == BASE_ARM else 0.5, len(text.split())
    response = sample(arm, replicate, prompt_id=one.prompt_id, text=text, seconds=seconds, tokens=tokens).response
    reading = _READER.read(one.case, response)
    scores = {"keyword_share": reading.text.keyword_share, "jarvis_relevance": reading.text.relevance}
    return make_sample(response, reading, scores)


@pytest.fixture(scope="session")
def publish(tmp_path_factory) -> Callable[[Report], str]:
    """Give `publish(report)`: it writes the page and returns its address."""

    def write(report: Report) -> str:
        file = tmp_path_factory.mktemp("page") / "report.html"
        file.write_text(render_html(report, insights(report), {}), encoding="utf-8")
        return file.as_uri()

    return write


@pytest.fixture(scope="session")
def small(asked, write_report, publish) -> str:
    """Give the address of a page with one case of each kind."""
    cases = [
        asked(
            prompt_id="cv-01",
            category="commandes",
            text="ouvre l'éditeur",
            base=["Je ne sais pas."] * 4,
            tuned=["J'ouvre l'application, je lance le logiciel."] * 4,
            keywords=("ouvre",),
        ),
        asked(
            prompt_id="cv-02",
            category="commandes",
            text="prends une photo de l'écran",
            intended="capture d'écran",
            base=["Une capture de l'ÉCRAN, une image, une photo."] * 4,
            tuned=["Voilà."] * 4,
            keywords=("écran",),
            expected_tool="screenshot_tool",
        ),
        asked(prompt_id="tr-01", base=["J'augmente le son."] * 4, tuned=["J'augmente le son."] * 4),
        asked(prompt_id="tr-02", base=["Le son.", None, "Le son.", "Le son."], tuned=["Non."] + ["Le volume."] * 3),
        asked(prompt_id="tr-03", base=[None] * 4, tuned=["Le son", "", "Le volume", "Le son"]),
    ]
    report = write_report(cases, labels={"commandes": "Commandes", "tool_routing": "Choix de l'outil"})
    return publish(report)


@pytest.fixture(scope="session")
def large(asked, write_report, publish) -> str:
    """Give the address of a page with 3,000 prompts and 12,000 responses."""
    cases = [
        asked(
            prompt_id=f"p-{number:04}",
            text=f"monte le son de la pièce {number}",
            category=f"categorie-{number % 8}",
            base=[f"Réponse {number} et {other}, d'accord." for other in range(2)],
            tuned=[f"J'augmente le son de la pièce {number}, {other} fois." for other in range(2)],
        )
        for number in range(3000)
    ]
    return publish(write_report(cases))
