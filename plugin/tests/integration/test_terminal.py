"""What is seen on the terminal."""

import os
import subprocess
import sys

import pytest

from pytest_jarvis.types import EngineError


def test_each_prompt_has_one_line_with_both_arms(project, scripted_by) -> None:
    engine = scripted_by("def script(request):\n    return \"J'ouvre chrome.\" if request.arm == 'jarvis' else 'non'")
    result = project.run(engine=engine)
    result.stdout.fnmatch_lines(
        ["Commandes *actions faites*mots-clés*pertinence*", "  c-1  ouvre chrome *4/4*0/2 → 2/2 *0,00 → 0,83*"]
    )


def test_quiet_says_no_more_than_the_verdict(project) -> None:
    shown = project.run("-q", "--jarvis-report").stdout.str()
    assert "mots-clés" not in shown
    assert "ACCEPTÉ" in shown


def test_verbose_shows_both_answers(project, scripted_by) -> None:
    engine = scripted_by("def script(request):\n    return f'réponse de {request.arm}'")
    result = project.run("-v", engine=engine)
    result.stdout.fnmatch_lines(["*base *réponse de base", "*jarvis *réponse de jarvis"])


WITHOUT_OTHERS = ("-p", "no:hypothesispytest", "-p", "no:syrupy", "-p", "no:benchmark")


def written_by(project, engine: str, *arguments: str) -> bytes:
    """Return the very bytes that pytest writes in a process of its own: pytester cuts its lines also at a lone \\r."""
    # Cosines would make the process import scikit-learn, which takes longer than all else of it.
    project.configure(metrics={"cosine": False})
    command = [sys.executable, "-m", "pytest", *WITHOUT_OTHERS, "--jarvis-engine", engine, *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, check=True)
    return (done.stdout + done.stderr).replace(os.linesep.encode(), b"\n")


def test_control_characters_of_a_response_never_reach_the_terminal(project, scripted_by) -> None:
    engine = scripted_by(r"def script(request):" "\n" r"    return 'a\x1b[31m\rb\u202ec\x07'")
    shown = written_by(project, engine, "-v")
    assert b"[31m" in shown
    assert [] == [mark for mark in ("\x1b", "\r", "\u202e", "\x07") if mark.encode() in shown]


def test_a_log_has_no_carriage_return(project, scripted_by) -> None:
    engine = scripted_by("def script(request):\n    return f'{request.arm} ouvre {request.replicate}'")
    shown = written_by(project, engine, "--jarvis-report", "--jarvis-gate", "off")
    assert b"JARVIS" in shown
    assert 0 == shown.count(b"\r")


def test_what_a_test_asks_to_show_is_in_the_summary(project) -> None:
    project.pytester.makepyfile(test_benchmark="def test_a(jarvis_show, base_model):\n    jarvis_show('bien reçu')")
    project.run().stdout.fnmatch_lines(["*= JARVIS =*", "*bien reçu"])


def test_each_of_several_adapters_has_its_own_lines_in_the_closing_block(project, scripted_by) -> None:
    engine = scripted_by(
        "ANSWERS = {'v1': 'ouvre', 'v2': 'Le logiciel est ouvert.'}\n"
        "def script(request):\n    return ANSWERS.get(request.arm, 'Je ne sais pas.')"
    )
    adapters = [part for name in ("v1", "v2") for part in ("--jarvis-adapter", f"{name}=demo:{name}")]
    result = project.run("--jarvis-report-dir", "out", *adapters, engine=engine)
    result.stdout.fnmatch_lines(
        [
            "4*réponses/prompt * prompts *gain",
            "Commandes",
            "  v1 *2/2*",
            "  v2 *2/2*",
            "Ensemble",
            "  v1 *3/3*",
            "  v2 *3/3*",
            "v1 · Bon outil choisi*",
            "v2 · Bon outil choisi*",
            "Classement*: v2 *",
            "  v2 devant v1, écart *",
        ]
    )


def test_without_a_report_no_adapter_is_said_to_be_shown_ahead(project, scripted_by) -> None:
    engine = scripted_by("def script(request):\n    return 'ouvre' if request.arm == 'v2' else 'non'")
    adapters = [part for name in ("v1", "v2") for part in ("--jarvis-adapter", f"{name}=demo:{name}")]
    shown = project.run(*adapters, engine=engine).stdout.str()
    assert "Classement" in shown
    assert "montré" not in shown


def test_a_part_of_the_prompts_is_told_that_a_verdict_wants_them_all(project) -> None:
    project.run("-k", "questions").stdout.fnmatch_lines(["Non jugé*une partie des prompts seulement*"])


REFUSED = "from pytest_jarvis.types import EngineError\ndef script(request):\n    raise EngineError('le modèle: non')"


def test_a_refused_model_is_one_sentence_and_nothing_of_a_run_that_never_was(project, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("the model cannot be loaded: run 'git lfs pull'")

    monkeypatch.setattr("pytest_jarvis.engines.scripted.ScriptedEngine.__init__", refuse)
    result = project.run("--jarvis-report-dir", "out")
    shown = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 1 == shown.count("the model cannot be loaded")
    assert "\nERROR: the model cannot be loaded: run 'git lfs pull'\n" in shown
    assert [] == [word for word in ("Exit", "NON JUGÉ", "--jarvis-reuse", "Interrompu", "Traceback") if word in shown]


def test_what_was_refused_while_drawing_comes_without_advice_to_resume_nothing(project, scripted_by) -> None:
    result = project.run("--jarvis-report-dir", "out", engine=scripted_by(REFUSED))
    shown = result.stdout.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert 1 == shown.count("ERROR: le modèle")
    assert [] == [word for word in ("outcomes.Exit", "--jarvis-reuse") if word in shown]


def test_without_a_terminal_the_report_is_written_all_the_same(project) -> None:
    project.run("--jarvis-report-dir", "out", "-p", "no:terminal")
    assert project.report().complete
