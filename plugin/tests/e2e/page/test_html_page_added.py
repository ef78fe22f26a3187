"""`report.html` in a real Chromium: metrics that others added and prompts found in training data, in the cases."""

import msgspec
import pytest

from pytest_jarvis.inputs.contamination import Leak
from pytest_jarvis.metrics.registry import MetricSpec
from pytest_jarvis.report.analysis.metrics import line_metrics
from pytest_jarvis.report.schema import JudgedContamination, Sample

pytestmark = pytest.mark.slow
REPLACE = msgspec.structs.replace
ERRORS = MetricSpec(name="fautes", label="Fautes", higher_is_better=False)
LONGER = MetricSpec(name="ecart", label="Mots en plus", per="pair")


def measured(sample: Sample, place: int) -> Sample:
    base = sample.arm == "base"
    added = {"fautes": 5.0} if base else {"fautes": float(place), "ecart": 10.0 - place}
    return REPLACE(sample, scores=sample.scores | added)


@pytest.fixture(scope="module")
def address(asked, write_report, publish) -> str:
    """Give the address of a page with two added metrics and one prompt that was trained on."""
    cases = [asked(prompt_id=f"tr-0{place}", base=["Le son."] * 2, tuned=["Le volume."] * 2) for place in (1, 2, 3)]
    report = write_report(cases)
    rows = tuple(
        REPLACE(row, samples=tuple(measured(sample, place) for sample in row.samples))
        for place, row in enumerate(report.results, start=1)
    )
    name = report.metadata.lora_adapter
    metrics = line_metrics([ERRORS, LONGER], {name: rows}, list(report.by_category), {name: 0.05}, shared_noise=True)
    leak = Leak(prompt_id="tr-02", kind="exact", similarity=1.0, file="train.jsonl", line=7, text="monte le son")
    found = JudgedContamination(
        files=("train.jsonl",), texts=10, prompts=3, leaks={"tr-02": (leak,)}, counts={"tr-02": 1}, decisions={}
    )
    return publish(REPLACE(report, results=rows, metrics=metrics, contamination=found))


def test_cases_are_sorted_by_an_added_metric(page, address) -> None:
    page.open(address)
    page.choose("sort", "extra-0-tuned")
    ascending = page.shows()
    page.choose("sort", "extra-1-tuned")
    assert ascending == page.shows()[::-1]
    assert ["cas-tr-01", "cas-tr-02", "cas-tr-03"] == sorted(ascending)


def test_a_case_shows_an_added_metric_and_a_fall_that_is_better_is_shown_as_such(page, address) -> None:
    page.open(address)
    page.shows()
    scores = page.text_of("#cas-tr-01 .scores")
    assert "Fautes" in scores
    assert "5,00 → 1,00" in scores
    assert "Mots en plus (par paire)" in scores
    assert "9,00" in scores
    shown = page.run(
        "[...document.querySelectorAll('#cas-tr-01 .score')].find((one) => one.textContent.includes('Fautes'))"
        ".querySelector('.change').className"
    )
    assert "change better" == shown


def test_a_prompt_that_was_trained_on_has_a_badge(page, address) -> None:
    page.open(address)
    page.shows()
    assert "Vu à l’entraînement" in page.text_of("#cas-tr-02 .case-place")
    assert "Vu à l’entraînement" not in page.text_of("#cas-tr-01 .case-place")
