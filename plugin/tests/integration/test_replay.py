"""`--jarvis-replay`: a saved report is scored, judged and reported again, and nothing is drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_jarvis import cli, load_report
from pytest_jarvis.inputs.prompts import dictionary_hash, load_prompts, packaged_prompts
from pytest_jarvis.report.io import write_report
from pytest_jarvis.report.schema import Report

UNSURE = (
    "def script(request):\n"
    "    said = 'ouvre' if (request.replicate + len(request.prompt_id + request.text)) % 3 else 'lance application'\n"
    "    return said if request.arm == 'base' else said + (' logiciel' if request.replicate % 2 else '')"
)
FAILS = (
    "def script(request):\n"
    "    if request.prompt_id == 'c-1' and request.arm == 'lora' and request.replicate == 1:\n"
    "        return Failure(prompt_id='c-1', arm='lora', replicate=1, stage='timeout', reason=text_note('trop long'))\n"
    "    return 'ouvre' if request.arm == 'base' else f'ouvre application {request.replicate}'"
)
REPLAY = ("--jarvis-report-dir", "again", "--jarvis-replay", "out")


@pytest.fixture
def replay(project) -> Callable[..., pytest.RunResult]:
    """Function that replays the report in `out` into `again`, with more options."""

    def run(*arguments: str) -> pytest.RunResult:
        return project.run(*REPLAY, *arguments, engine=None)

    return run


@contextmanager
def edited(project) -> Iterator[dict[str, Any]]:
    """Give the document of the report in `out` to be changed."""
    file = project.folder / "out" / "report.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    yield document
    file.write_text(json.dumps(document), encoding="utf-8")


def judged(report: Report) -> dict[str, object]:
    """What a replay gives again to the last digit."""
    return {
        "gate": report.gate,
        "decisions": report.decisions,
        "statistics": report.by_adapter,
        "failures": report.failures,
        "noise": report.noise_floor,
        "complete": report.complete,
        "rows": [msgspec.structs.replace(row, timestamp="") for row in report.results],
        "timings": report.provenance.timings_s,
        "mismatched": report.provenance.mismatched_cosine,
        "engine": report.provenance.engine,
        "looks": report.metadata.samples_per_prompt,
    }


@pytest.mark.parametrize(
    ("script", "options"),
    [
        pytest.param("", (), id="a settled run"),
        pytest.param(UNSURE, ("--jarvis-adapter", "lora=x"), id="a run that drew every look"),
        pytest.param(UNSURE, ("--jarvis-adapter", "a=x", "--jarvis-adapter", "b=y"), id="several adapters"),
        pytest.param(UNSURE, ("--jarvis-samples", "3", "--jarvis-seed", "7"), id="a fixed count"),
        pytest.param(FAILS, ("--jarvis-adapter", "lora=x"), id="failures"),
        pytest.param("", ("--jarvis-aa",), id="an A/A run"),
        pytest.param("", ("-k", "c-2"), id="a selection"),
    ],
)
def test_a_replay_gives_verdict_scores_and_timings_again_to_the_last_digit(
    project, scripted_by, replay, script, options
) -> None:
    first = project.run("--jarvis-report-dir", "out", *options, engine=scripted_by(script) if script else "scripted")
    again = replay()
    assert judged(project.report("again")) == judged(project.report())
    assert again.ret == first.ret


def test_the_real_run_that_is_kept_as_a_sample_gives_its_verdict_again(project) -> None:
    sample = Path(__file__).parents[3] / "reports" / "exemple"
    before = load_report(sample)
    prompts = load_prompts(packaged_prompts())
    stale = "the terms have changed since reports/exemple was made: make it anew"
    assert dictionary_hash(prompts.tools) == before.provenance.dictionary_hash, stale
    project.run(
        "--jarvis-report-dir",
        "again",
        "--jarvis-replay",
        str(sample),
        "--jarvis-prompts",
        str(prompts.folder),
        engine=None,
    )
    after = project.report("again")
    assert (after.gate.verdict, after.decisions["jarvis"].gain) == (
        before.gate.verdict,
        before.decisions["jarvis"].gain,
    )
    assert after.metadata.is_real


def test_a_replay_of_a_replay_is_the_same_again(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    replay()
    project.run("--jarvis-report-dir", "third", "--jarvis-replay", "again/report.json", engine=None)
    assert judged(project.report("third")) == judged(project.report())


def test_a_replay_is_labelled_in_every_output_and_keeps_what_the_engine_was(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    project.configure(output={"formats": ["text", "html", "markdown"]})
    result = replay()
    result.stdout.fnmatch_lines(["*moteur factice*", "Relecture de out/report.json (du *"])
    for file in ("report.txt", "summary.md", "report.html"):
        assert "Relecture de" in project.text(file, "again")
    report = project.report("again")
    assert report.metadata.is_real is False
    assert report.provenance.replay is not None
    assert report.provenance.replay.report == "out/report.json"


def test_a_higher_threshold_is_judged_on_the_recorded_responses(project, replay) -> None:
    assert project.run("--jarvis-report-dir", "out").ret == 0
    result = replay("--jarvis-min-gain", "100000")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["Gain demandé*+100000*(enregistré*+5*"])


def test_a_question_that_wants_more_responses_than_recorded_stops_there_and_says_so(
    project, scripted_by, replay
) -> None:
    loud = (
        "def script(request):\n"
        "    return 'ouvre' if request.arm == 'base' or request.replicate % 2 else 'ouvre lance application'"
    )
    project.run("--jarvis-report-dir", "out", "--jarvis-min-gain", "-90", engine=scripted_by(loud))
    assert project.report().metadata.samples_per_prompt == 4
    result = replay("--jarvis-min-gain", "50")
    report = project.report("again")
    assert (report.gate.verdict, report.metadata.samples_per_prompt) == ("INCONCLUSIVE", 4)
    assert report.provenance.replay is not None
    assert report.provenance.replay.stopped_short
    result.stdout.fnmatch_lines(["L’enregistrement s’arrête à 4*"])


def test_a_keyword_and_a_term_that_were_added_count(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    project.edit("questions.toml", '"bruit"]', '"bruit", "dit"]')
    project.edit("tools.toml", '"muet"', '"muet", "avez dit"')
    result = replay()
    row = project.report("again").results[2]
    assert row.keywords_expected == ("silence", "bruit", "dit")
    assert (row.samples[0].keywords_found, row.samples[0].terms_found) == (("bruit", "dit"), ("avez dit",))
    result.stdout.fnmatch_lines(["Le dictionnaire des outils a changé*", "Les prompts (mots-clés*"])


def test_another_way_to_look_for_keywords_is_scored_again(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    project.configure(metrics={"keyword_mode": "substring", "cosine": False})
    project.edit("commandes.toml", '"chrome"', '"chrom"')
    replay()
    report = project.report("again")
    assert report.results[0].samples[0].keywords_found == ("chrom", "ouvre")
    assert report.provenance.keyword_mode == "substring"
    assert report.results[0].figure("cosine_similarity").finetuned is None


def test_prompts_that_are_not_those_recorded_are_named_and_the_run_is_not_judged(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    project.edit("commandes.toml", 'text = "lance firefox"', 'text = "lance donc firefox"')
    project.edit("questions.toml", '"q-1"', '"q-2"')
    result = replay()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*dont le texte a changé depuis, non notés*: c-2.", "*n’existent plus ici*q-1.", "*jamais enregistrés*q-2."]
    )
    report = project.report("again")
    assert (report.gate.verdict, [row.prompt_id for row in report.results]) == ("NOT_JUDGED", ["c-1"])


def test_a_prompt_that_was_dropped_is_named_and_the_others_are_judged(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    (project.prompts / "questions.toml").unlink()
    result = replay()
    result.stdout.fnmatch_lines(["*n’existent plus ici*q-1."])
    assert project.report("again").gate.verdict == "PASS"


def test_a_report_without_a_cosine_per_response_keeps_the_means_of_its_prompts(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    with edited(project) as document:
        for sample in (sample for row in document["results"] for sample in row["samples"]):
            del sample["cosine"]
    result = replay()
    before, after = project.report(), project.report("again")
    assert [row.figure("cosine_similarity").finetuned for row in after.results] == [
        row.figure("cosine_similarity").finetuned for row in before.results
    ]
    assert {sample.score("cosine_similarity") for row in after.results for sample in row.samples} == {None}
    result.stdout.fnmatch_lines(["Cosinus*: moyennes enregistrées par prompt*"])


def test_what_an_interrupted_run_never_drew_stays_missing_and_is_no_failure(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    with edited(project) as document:
        document["results"][0]["samples"].pop()
    replay()
    report = project.report("again")
    assert (report.gate.verdict, report.failures, report.complete) == ("NOT_JUDGED", (), False)
    assert report.gate.reasons[0].code == "missing_pairs"


@pytest.mark.parametrize(
    "options",
    [
        ("--jarvis-model", "demo"),
        ("--jarvis-adapter", "x=demo:jarvis"),
        ("--jarvis-engine", "transformers"),
        ("--jarvis-aa",),
        ("--jarvis-seed", "0"),
        ("--jarvis-batch-size", "2"),
        ("--jarvis-max-new-tokens", "4"),
        ("--jarvis-timeout", "0"),
        ("--jarvis-template", "raw"),
        ("--jarvis-tools",),
        ("--jarvis-allow-partial-4bit",),
        ("--jarvis-allow-inert-adapter",),
    ],
    ids=lambda options: options[0],
)
def test_an_option_that_says_how_responses_are_drawn_is_refused(project, make_report, options) -> None:
    write_report(make_report(categories=1, prompts=1), project.folder / "out")
    said = project.refused(*REPLAY, *options, engine=None)
    assert f"{options[0]}: --jarvis-replay scores responses that are drawn already; leave" in said
    assert not (project.folder / "again").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"schema_version": 99}', "schema_version 99, this pytest-jarvis reads 1"),
        (None, "report.json: cannot be read: "),
    ],
)
def test_a_report_that_cannot_be_replayed_is_one_sentence(project, content: str | None, sentence: str) -> None:
    (project.folder / "out").mkdir()
    if content is not None:
        (project.folder / "out" / "report.json").write_text(content, encoding="utf-8")
    assert sentence in project.refused(*REPLAY, engine=None)


def test_more_responses_than_were_recorded_are_refused(project, make_report) -> None:
    write_report(make_report(categories=1, prompts=1, replicates=2), project.folder / "out")
    said = project.refused(*REPLAY, "--jarvis-samples", "3", engine=None)
    assert said.startswith("ERROR: --jarvis-samples 3: ")
    assert " holds 2 responses per prompt and arm; ask for at most 2" in said


def test_a_recording_of_other_prompts_is_refused(project) -> None:
    project.run("--jarvis-report-dir", "out")
    for file in ("commandes.toml", "questions.toml"):
        project.edit(file, 'id = "', 'id = "x')
    said = project.refused(*REPLAY, engine=None)
    assert "none of its 3 prompts is among those of this benchmark" in said


def test_the_replay_engine_needs_a_report(project) -> None:
    assert "--jarvis-engine replay: name the report to replay instead" in project.refused(engine="replay")


def test_tests_of_a_model_are_skipped(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    project.pytester.makepyfile(
        test_model="""
        import pytest

        @pytest.mark.quick
        def test_libraries():
            import a_library_that_is_not_there

        def test_answer(lora_model):
            assert lora_model.generate("bonjour").text
        """
    )
    replay("test_model.py").assert_outcomes(skipped=2)


def test_a_replay_imports_no_torch(project) -> None:
    project.run("--jarvis-report-dir", "out")
    code = (
        "import sys, pytest; status = pytest.main(sys.argv[1:]); "
        "print(sorted({'torch', 'transformers', 'peft', 'bitsandbytes', 'sklearn'} & set(sys.modules))); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-p", "no:hypothesispytest", "-p", "no:benchmark", *REPLAY],
        check=False,
        capture_output=True,
        encoding="utf-8",
        cwd=project.folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]")
    assert (Path(project.folder) / "again" / "report.json").is_file()


def test_a_report_without_a_response_is_refused(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    with edited(project) as document:
        document["results"] = []
    result = replay()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--jarvis-replay out/report.json: the report holds no response*"])


def test_a_report_of_schema_1_is_shown_compared_and_replayed(project, capsys) -> None:
    old = project.folder / "old" / "report.json"
    old.parent.mkdir()
    old.write_bytes((Path(__file__).parents[1] / "data" / "report_of_schema_1.json").read_bytes())
    assert 0 == cli.main(["analyze", str(old)])
    assert "aucun GPU n’est utilisé" in (old.parent / "report.txt").read_text(encoding="utf-8")
    assert 0 == cli.main(["compare", str(old), str(old)])
    prompts = str(packaged_prompts())
    project.run("--jarvis-replay", str(old), "--jarvis-report-dir", "again", "--jarvis-prompts", prompts, engine=None)
    before, again = load_report(old), project.report("again")
    assert (3, before.failures) == (again.schema_version, again.failures)
    assert 0 == cli.main(["compare", str(old), "again"])
    assert "stockage" not in capsys.readouterr().out


def test_half_a_surrogate_pair_loses_no_file_of_a_run_or_of_its_replay(project, scripted_by) -> None:
    formats = ["text", "html", "markdown"]
    project.configure(output={"formats": formats})
    engine = scripted_by("def script(request):\n    return f'ouvre \\ud800 {request.arm}'")
    project.run("--jarvis-report-dir", "out", engine=engine)
    file = project.folder / "out" / "report.json"
    file.write_text(file.read_text(encoding="utf-8").replace("\ufffd", "\\ud800"), encoding="utf-8")
    project.run("--jarvis-replay", "out", "--jarvis-report-dir", "again", engine=None)
    assert {row.base_model_response for row in project.report("again").results} == {"ouvre \ufffd base"}
    assert (
        len(list((project.folder / "again").iterdir())) == len(list((project.folder / "out").iterdir())) > len(formats)
    )


def test_a_replay_of_a_report_that_was_changed_says_so(project, replay) -> None:
    project.run("--jarvis-report-dir", "out")
    with edited(project) as document:
        document["results"][0]["samples"][0]["text"] = "ouvre une application, lance un logiciel"
    replay().stdout.fnmatch_lines(["*a été modifié après coup*"])
