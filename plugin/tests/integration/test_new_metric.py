"""A built-in metric is one entry of the registry and one label; everything else follows, as docs/adding.md says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ADDING = Path(__file__).parents[3] / "docs" / "adding.md"
PLUGIN = """
from pytest_jarvis.metrics import registry
from pytest_jarvis.metrics.registry import Metric, MetricSpec

metric = {entry}
registry.BUILT_IN[metric.spec.name] = metric

from pytest_jarvis.render.french.metrics import LABELS

LABELS.update({{{label}}})
"""
RUN = "import sys, more_metric; from pytest_jarvis.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def source() -> str:
    """Return a module that makes the two changes of the document."""
    section = ADDING.read_text(encoding="utf-8").partition("## A built-in metric\n")[2].partition("\n## ")[0]
    entry, label = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return PLUGIN.format(entry=entry, label=label.strip())


@pytest.fixture
def measured(project, source, monkeypatch) -> Path:
    """Return the folder of a report with the metric, of a run with a bar on it; and in `twin` an A/A run."""
    (project.folder / "more_metric.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project.folder), *sys.path]))
    bars = {"words": {"min_gain": -10, "min_mean": 1}}
    project.configure(output={"formats": ["text", "html", "markdown"]}, benchmark={"metric_bars": bars})
    plain = ("-p", "no:hypothesispytest", "-p", "no:benchmark", "-p", "more_metric", "--jarvis-engine", "scripted")
    result = project.pytester.runpytest_subprocess(*plain, "--jarvis-report-dir", "out")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["Mots*:*→*écart*"])
    project.pytester.runpytest_subprocess(*plain, "--jarvis-aa", "--jarvis-report-dir", "twin")
    return project.folder


def test_a_metric_of_one_entry_and_a_label_is_everywhere(measured) -> None:
    report = json.loads((measured / "out" / "report.json").read_text(encoding="utf-8"))
    words = [[float(len(one["text"].split())) for one in row["samples"]] for row in report["results"]]
    assert words == [[sample["words"] for sample in row["samples"]] for row in report["results"]]
    assert all(row["words_finetuned"] > 0 for row in report["results"])
    assert (
        report["metrics"]["words"]["by_adapter"]["jarvis"]["overall"]["base"] == report["statistics"]["avg_words_base"]
    )
    judged = {one["name"]: one["verdict"] for one in report["gate"]["thresholds"] if one["metric"] == "words"}
    assert judged == {"metric_gain": "PASS", "metric_mean": "PASS"}
    for file in ("report.txt", "summary.md", "report.html"):
        assert "Mots" in (measured / "out" / file).read_text(encoding="utf-8").replace("Mots-clés", ""), file
    twin = json.loads((measured / "twin" / "report.json").read_text(encoding="utf-8"))
    assert "words" in twin["noise_floor"]
    command = [sys.executable, "-c", RUN, "compare", "out", "twin"]
    compared = subprocess.run(command, check=True, cwd=measured, capture_output=True, encoding="utf-8")
    assert re.search(r"^ *Mots +3 ", compared.stdout, re.MULTILINE), compared.stdout
