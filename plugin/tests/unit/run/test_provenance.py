"""The provenance of a report: versions, commit and machine, and nothing that names a person."""

import getpass
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from pytest_jarvis.run import build_report


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody and return what it prints."""
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Return a checkout with one commit."""
    git(tmp_path, "init", "-q")
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-q", "-m", "a")
    return tmp_path


def test_the_commit_of_a_clean_checkout_is_given(checkout) -> None:
    assert build_report.find_commit(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


def test_the_commit_is_found_from_a_folder_inside(checkout) -> None:
    (checkout / "b").mkdir()
    assert build_report.find_commit(checkout / "b")[0] == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["a.txt", "new.txt"])
def test_a_changed_or_new_file_makes_a_checkout_dirty(checkout, name: str) -> None:
    (checkout / name).write_text("changed", encoding="utf-8")
    assert build_report.find_commit(checkout)[1] is True


@pytest.mark.parametrize("here", [".", "b"])
def test_what_earlier_runs_wrote_makes_no_checkout_dirty(checkout, here: str) -> None:
    folder = checkout / here
    (folder / "reports" / "run").mkdir(parents=True)
    (folder / "reports" / "run" / "report.json").write_text("{}", encoding="utf-8")
    assert build_report.find_commit(folder)[1] is True
    assert build_report.find_commit(folder, folder / "reports")[1] is False
    (checkout / "conftest.py").write_text("", encoding="utf-8")
    assert build_report.find_commit(folder, folder / "reports")[1] is True


def test_reports_beside_everything_else_hide_nothing(checkout, tmp_path) -> None:
    (checkout / "new.txt").write_text("new", encoding="utf-8")
    for reports in (checkout, tmp_path.parent / "elsewhere"):
        assert build_report.find_commit(checkout, reports)[1] is True


def test_a_folder_outside_any_checkout_has_no_commit(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert build_report.find_commit(tmp_path) == (None, None)


def test_a_checkout_without_a_commit_has_none(tmp_path) -> None:
    git(tmp_path, "init", "-q")
    assert build_report.find_commit(tmp_path) == (None, None)


def test_a_machine_without_git_has_no_commit(checkout, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert build_report.find_commit(checkout) == (None, None)


def test_a_git_that_does_not_answer_is_given_up(checkout, monkeypatch) -> None:
    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 10)

    monkeypatch.setattr(subprocess, "run", slow)
    assert build_report.find_commit(checkout) == (None, None)


def test_changes_that_cannot_be_listed_are_not_none(checkout, monkeypatch) -> None:
    monkeypatch.setattr(build_report, "_git", lambda folder, command, *_: "abc" if command == "rev-parse" else None)
    assert build_report.find_commit(checkout) == ("abc", None)


def test_the_versions_are_those_of_python_the_libraries_and_the_engine() -> None:
    found = build_report.library_versions({"torch": "1.2.3"})
    assert (platform.python_version(), version("numpy"), "1.2.3") == (found["python"], found["numpy"], found["torch"])
    assert {"pytest-jarvis", "pytest", "scipy", "scikit-learn"} <= set(found)


def test_a_library_that_is_not_installed_has_no_version(monkeypatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(build_report, "version", missing)
    assert list(build_report.library_versions({})) == ["python"]


def test_the_machine_is_told_without_its_name_or_its_user() -> None:
    told = repr(build_report.this_machine())
    assert [name for name in (platform.node(), getpass.getuser()) if len(name) > 4 and name in told] == []


def test_the_system_is_told_without_its_release(monkeypatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-somebodys-cloud")
    assert (platform.system(), False) == (
        build_report.this_machine().system,
        "cloud" in repr(build_report.this_machine()),
    )


@pytest.mark.parametrize("cores", [None, 3])
def test_the_machine_has_at_least_one_core(monkeypatch, cores: int | None) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert build_report.this_machine().cores == (cores or 1)
