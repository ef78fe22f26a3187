"""The gate's options and the exit status they lead to."""

from __future__ import annotations

import pytest

SAME = "def script(request):\n    return f'ouvre {request.replicate}'"
BETTER = """
def script(request):
    return "ouvre" if request.arm == "base" else "ouvre une application"
"""
NOISY = """
from zlib import crc32

def script(request):
    draw = crc32(f"{request.prompt_id} {request.replicate} {request.arm} 5".encode()) % 3
    return " ".join(["ouvre", "application", "logiciel"][: draw + 1])
"""


def test_a_proven_gain_passes_with_the_fewest_responses(project, scripted_by) -> None:
    result = project.run("--jarvis-report-dir", "out", engine=scripted_by(BETTER))
    assert result.ret == 0
    assert "PASS" == project.report().gate.verdict
    assert 4 == project.report().metadata.samples_per_prompt
    result.stdout.fnmatch_lines(["*PROUVÉ*", "*ACCEPTÉ*"])


def test_no_gain_exits_one_but_where_the_gain_is_not_judged(project, scripted_by) -> None:
    engine = scripted_by(SAME)
    result = project.run("--jarvis-report-dir", "out", engine=engine)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=3)
    assert project.report().gate.verdict in {"FAIL", "INCONCLUSIVE"}
    assert 0 == project.report().statistics.relevance_gain
    for options in ((), ("--jarvis-report", "--jarvis-gate", "off")):
        assert project.run(*options, engine=engine).ret == 0


def test_the_bar_can_be_moved(project, scripted_by) -> None:
    engine = scripted_by(BETTER)
    assert project.run("--jarvis-report", "--jarvis-gate", "point", "--jarvis-min-gain", "99", engine=engine).ret == 0
    assert (
        project.run("--jarvis-report", "--jarvis-gate", "point", "--jarvis-min-gain", "101 %", engine=engine).ret == 1
    )


def test_an_undecided_gate_draws_all_looks(project, scripted_by) -> None:
    result = project.run("--jarvis-report-dir", "out", "--jarvis-min-gain", "0", engine=scripted_by(NOISY))
    report = project.report()
    assert ("INCONCLUSIVE", 16) == (report.gate.verdict, report.metadata.samples_per_prompt)
    assert pytest.ExitCode.TESTS_FAILED == result.ret


@pytest.mark.parametrize(("gate", "code"), [("proven", 1), ("point", 1), ("off", 0)])
def test_a_run_without_the_relevance_says_that_a_bar_was_not_measured(
    project, scripted_by, gate: str, code: int
) -> None:
    project.configure(metrics={"relevance": False})
    engine = scripted_by(BETTER)
    result = project.run("--jarvis-report-dir", "out", "--jarvis-gate", gate, engine=engine)
    assert code == result.ret
    assert (["bar_not_measured"] if code else []) == [one.code for one in project.report().gate.reasons]


def test_a_selection_is_not_judged_and_says_why(project) -> None:
    result = project.run("--jarvis-report-dir", "out", "-k", "questions")
    assert result.ret == 0
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.fnmatch_lines(["*NON JUGÉ*", "*Sélection partielle*sur 3*"])
    assert "NOT_JUDGED" == project.report().gate.verdict


def test_a_selection_fails_when_asked_to_be_strict(project) -> None:
    result = project.run("--jarvis-report", "--jarvis-strict", "-k", "questions")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_nothing_measured_is_never_green(project) -> None:
    project.pytester.makepyfile(
        test_benchmark="def test_handle(base_model):\n    assert base_model.generate('bonjour').text"
    )
    result = project.run("--jarvis-report")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*NON JUGÉ*", "*Rien n’a été mesuré*"])


HALF = """
def script(request):
    if request.arm != "base" and request.replicate % 2:
        name, arm, number = request.key
        return Failure(prompt_id=name, arm=arm, replicate=number, stage="generate", reason=text_note("non"))
    return "ouvre" if request.arm == "base" else "ouvre une application"
"""


@pytest.mark.parametrize(("options", "status"), [((), 1), (("--jarvis-unjudged", "warn"), 0), (("-k", "c-1"), 0)])
def test_a_run_of_all_prompts_that_is_not_judged_exits_one_unless_that_is_accepted(
    project, scripted_by, options: tuple[str, ...], status: int
) -> None:
    project.pytester.makepyfile(
        test_benchmark="def test_prompt(jarvis_case, jarvis_measure): jarvis_measure(jarvis_case)"
    )
    result = project.run("--jarvis-report-dir", "out", *options, engine=scripted_by(HALF))
    assert (status, "NOT_JUDGED") == (result.ret, project.report().gate.verdict)


def test_a_gate_that_is_off_says_at_the_end_that_nothing_is_judged(project, scripted_by) -> None:
    result = project.run("--jarvis-report-dir", "out", "--jarvis-gate", "off", engine=scripted_by(BETTER))
    assert "rien n’est jugé" in result.stdout.lines[-2]


def test_stopping_at_the_first_failure_is_not_judged(project, scripted_by) -> None:
    engine = scripted_by(
        """
def script(request):
    if request.prompt_id == "c-1":
        why = text_note("no")
        return Failure(prompt_id="c-1", arm=request.arm, replicate=request.replicate, stage="generate", reason=why)
    return "ouvre"
"""
    )
    result = project.run("--jarvis-report-dir", "out", "-x", engine=engine)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    report = project.report()
    assert ("NOT_JUDGED", False) == (report.gate.verdict, report.complete)


def test_scores_and_verdict_are_in_the_junit_file(project, scripted_by) -> None:
    project.run("--jarvis-report-dir", "out", "--junitxml", "junit.xml", engine=scripted_by(BETTER))
    text = (project.folder / "junit.xml").read_text(encoding="utf-8")
    assert 'name="jarvis.jarvis_relevance_finetuned"' in text
    assert 'name="jarvis.verdict" value="PASS"' in text


def test_an_arm_that_fails_more_than_its_share_is_not_judged(project, scripted_by) -> None:
    engine = scripted_by(
        """
def script(request):
    if request.arm == "jarvis" and request.prompt_id == "c-1" and request.replicate == 0:
        return Failure(prompt_id="c-1", arm="jarvis", replicate=0, stage="generate", reason=text_note("no"))
    return "ouvre une application" if request.arm == "jarvis" else "ouvre"
"""
    )
    project.run("--jarvis-report-dir", "out", "--jarvis-samples", "6", engine=engine)
    # 1 of 36 responses is within the 5 % of the whole, 1 of the adapter's own 18 is not.
    assert project.report().gate.verdict == "NOT_JUDGED"


def test_prompts_that_changed_since_they_were_pinned_are_not_judged(project, scripted_by) -> None:
    engine = scripted_by(BETTER)
    project.run("--jarvis-report-dir", "out", engine=engine)
    project.configure(benchmark={"prompts_sha256": project.report().provenance.prompt_hash})
    assert project.run("--jarvis-report-dir", "same", engine=engine).ret == 0
    assert project.report("same").gate.verdict == "PASS"
    project.edit("questions.toml", "plus un bruit", "plus de bruit")
    assert project.run("--jarvis-report-dir", "other", "--jarvis-strict", engine=engine).ret == 1
    assert [reason.code for reason in project.report("other").gate.reasons][:1] == ["prompts_changed"]


def test_a_gain_that_was_only_seen_is_not_called_proven(project, scripted_by) -> None:
    result = project.run("--jarvis-report", "--jarvis-gate", "point", engine=scripted_by(BETTER))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*ACCEPTÉ*vu atteint*rien n’est prouvé*"])


def test_a_run_that_fails_by_another_bar_does_not_blame_the_gain(project, scripted_by) -> None:
    project.configure(benchmark={"min_absolute_gain": 0.9})
    result = project.run("--jarvis-report", engine=scripted_by(BETTER))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*REFUSÉ*un autre seuil que le gain de pertinence*", "*Gain absolu de pertinence*où il faut ≥*0,900*"]
    )


TALKER = """
def script(request):
    said = {"c-1": "J'ouvre Chrome", "c-2": "J'ouvre Firefox", "q-1": "Je coupe le son"}[request.prompt_id]
    return f"{said}." if request.arm == "base" else "Pour cela, il faut lire la documentation."
"""


def test_a_fine_tune_that_does_not_do_what_it_is_asked_is_refused_in_words(project, scripted_by) -> None:
    project.configure(
        benchmark={"min_done_share": 0.5, "no_drop": ["deeds", "keyword_share"], "min_gain_percent": -100}
    )
    result = project.run("--jarvis-report-dir", "out", engine=scripted_by(TALKER))
    assert pytest.ExitCode.TESTS_FAILED == result.ret
    result.stdout.fnmatch_lines(
        ["*REFUSÉ*", "*Actions faites*0,0*seulement, où ≥*50,0*exigés*", "*Actions faites*une baisse est prouvée*"]
    )
    failed = [(one.name, one.metric) for one in project.report().gate.thresholds if one.verdict == "FAIL"]
    assert {("done_share", None), ("no_drop", "deeds")} <= set(failed)


def test_an_open_threshold_keeps_the_drawing_going(project, scripted_by) -> None:
    project.configure(benchmark={"metric_bars": {"characters": {"max_mean": 28}}})
    script = "def script(request):\n    return 'ouvre' + 'e' * (21 + request.replicate % 5) * (request.arm != 'base')"
    project.run("--jarvis-report-dir", "out", "--jarvis-min-gain=-100", engine=scripted_by(script))
    assert 16 == project.report().metadata.samples_per_prompt


BROKEN = """
def script(request):
    if request.arm == "casse":
        return Failure(
            prompt_id=request.prompt_id, arm=request.arm, replicate=request.replicate,
            stage="generate", reason=Note("not_finite"),
        )
    return "Bruit." if request.arm == "base" else "J'ouvre l'application, je lance le logiciel."
"""


@pytest.mark.parametrize(
    ("order", "verdict"), [(("bon", "casse"), "PASS"), (("casse", "bon"), "NOT_JUDGED")], ids=["second", "first"]
)
def test_an_adapter_that_cannot_answer_costs_only_its_own_verdict(
    project, scripted_by, order: tuple[str, str], verdict: str
) -> None:
    named = [part for name in order for part in ("--jarvis-adapter", f"{name}=demo:{name}")]
    engine = scripted_by(BROKEN)
    result = project.run("--jarvis-report-dir", "out", *named, engine=engine)
    report = project.report()
    assert (verdict, list(report.decisions)) == (report.gate.verdict, ["bon"])
    assert {one.name: one.verdict for one in report.gate.adapters}["casse"] == "NOT_JUDGED"
    result.stdout.fnmatch_lines(["*étape génération*logits non finis*"])


def test_strictness_without_a_report_to_be_strict_about_is_refused(project) -> None:
    said = project.refused("--jarvis-strict")
    assert said.endswith("--jarvis-strict: nothing is judged without a report; add --jarvis-report")


def test_a_part_of_the_prompts_is_a_selection_and_is_not_judged(project, scripted_by) -> None:
    project.configure(benchmark={"num_prompts": 2})
    result = project.run("--jarvis-report-dir", "out", engine=scripted_by(BETTER))
    report = project.report()
    assert (2, False, "NOT_JUDGED") == (len(report.results), report.metadata.full_selection, report.gate.verdict)
    assert ["partial_selection"] == [reason.code for reason in report.gate.reasons]
    result.stdout.fnmatch_lines(["*Sélection partielle*2*prompts sur 3*"])
