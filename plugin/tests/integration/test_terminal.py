"""What is seen on the terminal."""

from __future__ import annotations

from collections.abc import Callable


def test_each_prompt_has_one_line_with_both_arms(project, scripted_by: Callable[[str], str]) -> None:
    engine = scripted_by("def script(request):\n    return 'ouvre chrome' if request.arm == 'jarvis' else 'non'")
    result = project.run(engine=engine)
    result.stdout.fnmatch_lines(["Commandes *mots-clés*pertinence*", "  c-1  ouvre chrome *0/2 → 2/2 *0,00 → 0,48 ▲*"])


def test_quiet_says_no_more_than_the_verdict(project) -> None:
    shown = project.run("-q", "--jarvis-report").stdout.str()
    assert "mots-clés" not in shown
    assert "ACCEPTÉ" in shown


def test_verbose_shows_both_answers(project, scripted_by: Callable[[str], str]) -> None:
    engine = scripted_by("def script(request):\n    return f'réponse de {request.arm}'")
    result = project.run("-v", engine=engine)
    result.stdout.fnmatch_lines(["*base *réponse de base", "*jarvis *réponse de jarvis"])


def test_control_characters_of_a_response_never_reach_the_terminal(project, scripted_by: Callable[[str], str]) -> None:
    engine = scripted_by(r"def script(request):" "\n" r"    return 'a\x1b[31m\rb\u202ec\x07'")
    shown = project.run("-v", engine=engine).stdout.str()
    assert "[31m" in shown
    assert set() == {"\x1b", "\r", "\u202e", "\x07"} & set(shown)


def test_a_log_has_no_carriage_return(project) -> None:
    assert "\r" not in project.run("--jarvis-report").stdout.str()


def test_what_a_test_asks_to_show_is_in_the_summary(project) -> None:
    project.pytester.makepyfile(test_benchmark="def test_a(jarvis_show, base_model):\n    jarvis_show('bien reçu')")
    project.run().stdout.fnmatch_lines(["*= JARVIS =*", "*bien reçu"])
