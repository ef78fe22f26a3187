"""Metrics declared with the decorator: in the report, the terminal, the files and the thresholds, also under xdist."""

from __future__ import annotations

import pytest

CONFTEST = """
from pytest_jarvis import jarvis_metric

@jarvis_metric(label="Longueur", higher_is_better=False)
def longueur(case, response):
    return len(response.text) if case.category == "commandes" else None

@jarvis_metric(name="ajout", label="Texte ajouté", per="pair")
def added(case, base, finetuned):
    return len(finetuned.text) - len(base.text)
"""
ADDED = len(" J'ouvre l'application, je lance le logiciel.")
REPORT = ("--jarvis-report-dir", "out")


def test_a_declared_metric_is_in_the_report_the_terminal_and_every_file(project) -> None:
    project.pytester.makeconftest(CONFTEST)
    bars = {"longueur": {"min_gain": 1, "max_mean": 500}, "ajout": {"min_mean": 10}}
    project.configure(output={"formats": ["text", "html", "markdown"]}, benchmark={"metric_bars": bars, "no_drop": []})
    result = project.run(*REPORT)
    result.assert_outcomes(passed=3)
    report = project.report()
    length, added = (report.metrics[name].by_adapter["jarvis"] for name in ("longueur", "ajout"))
    assert (2, 2 * 4, float(ADDED)) == (length.overall.prompts, length.overall.not_measured, length.overall.value)
    assert (3, 0, float(ADDED)) == (added.overall.prompts, added.overall.not_measured, added.overall.value)
    assert [2, 0] == [one.prompts for one in length.by_category.values()]
    bars = {(bar.metric, bar.direction): bar.verdict for bar in report.gate.thresholds if bar.metric}
    assert bars == {("longueur", "at_most"): "PASS", ("ajout", "at_least"): "PASS"}
    assert ("FAIL", result.ret) == (report.gate.verdict, pytest.ExitCode.TESTS_FAILED)
    result.stdout.fnmatch_lines(["Longueur*écart*", "Longueur*8*sans mesure*", "Texte ajouté (par paire)*"])
    for file in ("report.txt", "report.html", "summary.md"):
        text = project.text(file)
        assert "Longueur" in text
        assert "Texte ajouté (par paire)" in text


def test_metrics_of_a_test_file_and_of_a_deeper_conftest_are_found_also_by_workers(project) -> None:
    project.pytester.makeconftest("")
    deep = project.folder / "tests"
    deep.mkdir()
    (project.folder / "test_benchmark.py").rename(deep / "test_benchmark.py")
    (deep / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    with (deep / "test_benchmark.py").open("a", encoding="utf-8") as file:
        file.write(
            "\nfrom pytest_jarvis import jarvis_metric\n\n@jarvis_metric\ndef un(case, response):\n    return 1\n"
        )
    project.configure(metrics={"cosine": False}, benchmark={"metric_bars": {"un": {"min_mean": 1}}})
    result = project.run_apart("-n", "2", "--jarvis-engine", "scripted", *REPORT)
    result.assert_outcomes(passed=3)
    metrics = project.report().metrics
    assert {"longueur": "Longueur", "ajout": "Texte ajouté", "un": "un"} == {
        name: metric.spec.label for name, metric in metrics.items()
    }
    assert metrics["un"].by_adapter["jarvis"].overall.base == 1.0


def test_a_declaration_that_cannot_be_ends_the_session_with_one_sentence(project) -> None:
    declared = "@jarvis_metric(name='a')\ndef {}(case, response): ...\n"
    source = f"from pytest_jarvis import jarvis_metric\n{declared.format('a')}{declared.format('b')}"
    project.pytester.makeconftest(source)
    assert "conftest.py:2 declares one of this name too" in project.refused(*REPORT)


def test_a_bar_on_an_unknown_metric_ends_the_session_with_one_sentence(project) -> None:
    project.pytester.makeconftest(CONFTEST)
    project.configure(benchmark={"metric_bars": {"longeur": {"min_gain": 1}}})
    said = project.refused(*REPORT)
    assert said.endswith("metric_bars: 'longeur': no metric of this name; did you mean 'longueur'?")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("float('nan')", "found nan"),
        ("True", "found True"),
        ("1 / 0", "raised ZeroDivisionError: division by zero (conftest.py:4)"),
    ],
)
def test_a_metric_without_a_number_fails_its_prompt_with_one_sentence(project, value: str, sentence: str) -> None:
    project.pytester.makeconftest(
        "from pytest_jarvis import jarvis_metric\n@jarvis_metric\ndef a(case, response):\n"
        f"    return {value} if case.prompt_id == 'c-2' and response.arm == 'jarvis' else 1\n"
    )
    result = project.run(*REPORT)
    result.assert_outcomes(passed=2, failed=1)
    (failure,) = project.report().failures
    assert ("c-2", "jarvis", 0, "score") == (failure.prompt_id, failure.arm, failure.replicate, failure.stage)
    assert str(failure.reason).startswith("metric 'a': prompt 'c-2', jarvis, response 1: ")
    assert sentence in str(failure.reason)
    assert str(failure.reason) in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_metrics_of_one_session_are_not_those_of_the_next(project) -> None:
    project.pytester.makeconftest(CONFTEST)
    project.run(*REPORT)
    (project.folder / "conftest.py").unlink()
    project.run("--jarvis-report-dir", "next")
    assert {} == project.report("next").metrics


def test_a_metric_that_nothing_has_is_said_to_be_not_measured(project) -> None:
    (project.folder / "conftest.py").write_text(
        "from pytest_jarvis import jarvis_metric\n@jarvis_metric(name='x')\ndef x(case, response):\n    return None\n",
        encoding="utf-8",
    )
    project.run().stdout.fnmatch_lines(["x*: non mesuré"])
