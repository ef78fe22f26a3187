"""What a user writes wrong ends in one clear sentence and exit status 4."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_jarvis.engines import transformers

BAD_OPTIONS = {
    "a word for a number": (["--jarvis-samples", "beaucoup"], "expected a whole number from 1, found 'beaucoup'"),
    "a gate mistyped": (["--jarvis-gate", "provn"], "found 'provn'; did you mean 'proven'?"),
    "an option mistyped": (
        ["--jarvis-adaptr", "x"],
        "--jarvis-adaptr: there is no such option; did you mean '--jarvis-adapter'?",
    ),
    "an option mistyped, with a value": (["--jarvis-sample=4"], "did you mean '--jarvis-samples'?"),
    "an option of no kind": (["--jarvis-xyzzy"], "there is no such option; 'pytest --help' lists those there are"),
    "an engine of no name": (["--jarvis-engine", "scriptd"], "unknown engine 'scriptd'; did you mean 'scripted'?"),
    "no such prompts": (["--jarvis-prompts", "nulle_part"], "there is no such folder of prompts"),
}


@pytest.mark.parametrize(("arguments", "sentence"), BAD_OPTIONS.values(), ids=list(BAD_OPTIONS))
def test_a_bad_option_gives_one_sentence(project, arguments: list[str], sentence: str) -> None:
    assert sentence in project.refused(*arguments)


def test_a_bad_value_of_the_environment_is_said_to_be_there(project, monkeypatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--jarvis-samples=beaucoup")
    assert project.refused() == (
        "ERROR: --jarvis-samples (of addopts or PYTEST_ADDOPTS): expected a whole number from 1, found 'beaucoup'"
    )


def test_an_option_that_a_conftest_declares_is_no_mistyped_one(project) -> None:
    project.pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--jarvis-mine', type=int)")
    assert project.run("--jarvis-mine", "3").ret == pytest.ExitCode.OK


def test_the_help_is_shown_whatever_else_is_typed(project) -> None:
    result = project.run("--help", "--jarvis-gate", "x", "--jarvis-samples", "x", "--jarvis-adaptr")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*--jarvis-gate={proven,point,off}*"])


def test_a_bad_prompt_gives_one_sentence_even_when_no_option_is_given(project) -> None:
    (project.prompts / "questions.toml").write_text(
        '[[prompts]]\nid = "q-1"\ntext = "a"\nkeywords = []\n', encoding="utf-8"
    )
    result = project.pytester.runpytest_inprocess("-p", "no:hypothesispytest")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*questions.toml*q-1*keywords*"])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "benchmark_config.json",
            '{"generation": {"top_p": 2}}',
            "generation: top_p: expected a number <= 1.0, found 2",
        ),
        ("jarvis_prompts/tools.toml", "[[tools]]", "tools: entry 1: the key 'name' is missing"),
    ],
)
def test_a_bad_file_gives_one_sentence_and_no_traceback(project, name: str, content: str, said: str) -> None:
    (project.folder / name).write_text(content, encoding="utf-8")
    assert said in project.refused("--jarvis-report")


def test_a_new_category_needs_no_python(project) -> None:
    (project.prompts / "ma_categorie.toml").write_text(
        '[[prompts]]\nid = "m-1"\ntext = "allume la lampe"\nkeywords = ["lampe", "allume"]\n', encoding="utf-8"
    )
    result = project.run("-k", "ma_categorie")
    result.assert_outcomes(passed=1, deselected=3)


@pytest.mark.parametrize("named", [("--jarvis-model", "no/such/folder"), ("--jarvis-adapter", "no/such/folder")])
def test_a_missing_model_or_adapter_gives_one_sentence(project, named: tuple[str, str]) -> None:
    given = ("--jarvis-adapter", "demo:jarvis") if named[0] == "--jarvis-model" else ()
    assert "no/such/folder" in project.refused(*named, *given, engine="transformers")


def test_a_test_that_asks_for_no_fixture_of_ours_starts_no_session(pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    result = pytester.runpytest_inprocess("-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1)
    assert "JARVIS" not in result.stdout.str()


def test_an_unknown_category_in_a_marker_is_refused(project) -> None:
    project.pytester.makepyfile(
        test_benchmark="import pytest\n@pytest.mark.jarvis_cases('question')\n"
        "def test_a(jarvis_case, jarvis_measure):\n    jarvis_measure(jarvis_case)\n"
    )
    assert "unknown category 'question'; did you mean 'questions'?" in project.refused()


def test_a_category_that_only_the_packaged_prompts_have_gives_no_test(project) -> None:
    project.pytester.makepyfile(
        test_benchmark="import pytest\n@pytest.mark.jarvis_cases('tool_routing')\n"
        "def test_a(jarvis_case, jarvis_measure):\n    jarvis_measure(jarvis_case)\n\ndef test_b(): pass\n"
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "collected 1 item" in result.stdout.str()


def test_missing_libraries_are_named_with_the_command_that_installs_them(project, monkeypatch) -> None:
    monkeypatch.setattr(transformers, "ENGINE", replace(transformers.ENGINE, needs=("torch", "no_such_library")))
    said = project.refused(engine="transformers")
    assert 'no_such_library not installed; pip install "pytest-jarvis[local]"' in said


def test_a_report_folder_that_cannot_be_made_is_refused_before_anything_is_drawn(project) -> None:
    (project.folder / "plein").write_text("", encoding="utf-8")
    assert "plein is a file; name a folder" in project.refused("--jarvis-report-dir", "plein/dedans")


def test_an_option_in_the_environment_counts_as_one_on_the_command_line(project, monkeypatch) -> None:
    project.pytester.makepyfile(test_benchmark="def test_a(): pass")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--jarvis-report")
    assert project.pytester.runpytest_inprocess("-p", "no:hypothesispytest").ret == pytest.ExitCode.TESTS_FAILED


def test_an_option_of_0_is_one_that_is_given(project) -> None:
    project.pytester.makepyfile(test_benchmark="def test_a(): pass")
    (project.folder / "benchmark_config.json").write_text("{", encoding="utf-8")
    run = project.pytester.runpytest_inprocess
    assert run("-p", "no:hypothesispytest").ret == pytest.ExitCode.OK
    assert run("-p", "no:hypothesispytest", "--jarvis-seed", "0").ret == pytest.ExitCode.USAGE_ERROR


def test_a_folder_of_reports_that_is_a_file_is_refused_before_anything_is_drawn(project) -> None:
    (project.folder / "reports").write_text("", encoding="utf-8")
    said = project.refused("--jarvis-report")
    assert said.startswith(f"ERROR: output.folder of the configuration: {project.folder / 'reports'} is a file")
    assert not (project.folder / ".jarvis").exists()


@pytest.fixture
def elsewhere(project, tmp_path_factory) -> Path:
    """A folder outside of the project, whose pytest.ini names the folder of its tests."""
    (project.folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n", encoding="utf-8")
    (project.folder / "tests").mkdir()
    (project.folder / "test_benchmark.py").rename(project.folder / "tests" / "test_benchmark.py")
    return tmp_path_factory.mktemp("models")


def test_a_path_that_pytest_takes_for_the_tests_is_refused_with_the_way_to_write_it(project, elsewhere) -> None:
    said = project.refused("--jarvis-model", str(elsewhere))
    assert f"write --jarvis-model={elsewhere}, with an equals sign, or name the folder" in said


ADAPTER = ("--jarvis-adapter", "jarvis=x")


def test_a_path_after_an_equals_sign_leaves_pytest_its_configuration(project, elsewhere) -> None:
    result = project.run(f"--jarvis-model={elsewhere}", *ADAPTER)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["configfile: pytest.ini", "testpaths: tests"])


@pytest.mark.parametrize("named", [("tests",), ("-c", "pytest.ini")])
def test_a_path_as_a_word_of_its_own_is_taken_where_the_project_is_named(
    project, elsewhere, named: tuple[str, ...]
) -> None:
    assert project.run(*named, "--jarvis-model", str(elsewhere), *ADAPTER).ret == pytest.ExitCode.OK


def test_a_name_that_is_no_path_may_be_a_word_of_its_own(project, elsewhere) -> None:
    assert elsewhere.is_dir()
    assert project.run("--jarvis-model", "Qwen/Qwen3-30B-A3B", *ADAPTER).ret == pytest.ExitCode.OK


def test_a_project_without_a_configuration_of_pytest_takes_a_path_as_a_word_of_its_own(
    project, tmp_path_factory
) -> None:
    folder = str(tmp_path_factory.mktemp("models"))
    assert project.run("--jarvis-model", folder, *ADAPTER).ret == pytest.ExitCode.OK
