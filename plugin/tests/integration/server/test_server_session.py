"""A session of pytest against a server: what the options take, what the report holds, what nobody may see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_jarvis.engines import server as server_engine
from pytest_jarvis.types import Storage

ARGUMENTS = ("--jarvis-model", "base", "--jarvis-adapter", "lora", "-p", "no:xdist")


def run(project: Any, server: Any, *arguments: str) -> pytest.RunResult:
    return project.run("--jarvis-base-url", server.url, *ARGUMENTS, *arguments, engine="server")


def test_a_run_against_a_server_is_judged_and_without_an_embedding_model_has_no_cosine(project, server) -> None:
    outcome = run(project, server, "--jarvis-report-dir", "out", "--jarvis-samples", "2", "--jarvis-gate", "point")
    report = project.report()
    outcome.assert_outcomes(passed=3)
    assert report.complete
    assert (report.metadata.engine, report.metadata.is_real, report.metadata.quantization) == (
        "server",
        True,
        Storage(format="server"),
    )
    written = json.loads((project.folder / "out" / "report.json").read_bytes())["provenance"]["model"]
    assert (written["quantization"], written["server"]["base_url"]) == (None, server.url)
    assert report.provenance.engine.server.base_url == server.url
    assert report.gate.verdict in {"PASS", "FAIL"}
    assert {row.figure("cosine_similarity").finetuned for row in report.results} == {None}
    assert report.statistics.figure("cosine_similarity").finetuned is None


def test_with_an_embedding_model_the_cosine_is_measured_and_says_by_which(project, server) -> None:
    server.vectors = {"small": 8}
    project.configure(output={"formats": ["text"]}, model={"embedding_model": "small"})
    run(project, server, "--jarvis-report-dir", "out", "--jarvis-samples", "1")
    assert all(0 <= row.figure("cosine_similarity").finetuned <= 1 for row in project.report().results)
    said = project.text("report.txt")
    assert "Cosinus fait par       small (/v1/embeddings)" in said
    assert "non mesurée (serveur)" in said


def test_responses_that_fail_are_failures_in_the_report_and_the_others_stand(project, server, fault) -> None:
    project.configure(model={"retries": 0})
    server.fault = lambda body, _: fault(status=500) if "firefox" in str(body["messages"]) else None
    run(project, server, "--jarvis-report-dir", "out", "--jarvis-samples", "1")
    report = project.report()
    assert {(row.prompt_id, row.stage, str(row.reason)) for row in report.failures} == {
        ("c-2", "generate", "the server answered 500: out of order")
    }
    assert report.statistics.total_tests == 2


def test_a_key_is_nowhere_in_what_a_run_leaves_or_prints(project, server, fault, monkeypatch) -> None:
    monkeypatch.setenv("JARVIS_API_KEY", "sk-very-secret")
    server.key = "sk-very-secret"
    server.fault = lambda body, _: fault(status=400, said="sk-very-secret?") if "firefox" in str(body) else None
    project.configure(output={"formats": ["text", "html", "markdown"]})
    outcome = run(project, server, "--jarvis-report-dir", "out", "--jarvis-samples", "1", "-vv")
    left = [path.read_bytes() for path in project.folder.rglob("*") if path.is_file()]
    assert str(project.report().failures[0].reason) == "the server answered 400: <key>?"
    assert [] == [data for data in left if b"sk-very-secret" in data]
    assert "sk-very-secret" not in outcome.stdout.str() + outcome.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--jarvis-model", "base", "--jarvis-adapter", "a"), "no address of a server; give it with --jarvis-base-url"),
        (("--jarvis-base-url", "http://h/v1"), "no base model; give the server's name for it"),
        (
            ("--jarvis-base-url", "http://me:sk-secret@h/v1", "--jarvis-model", "base", "--jarvis-adapter", "a"),
            "addresses are printed in reports: give it without user, password or query, and a key in the environment",
        ),
        (
            ("--jarvis-base-url", "localhost:8000", "--jarvis-model", "base", "--jarvis-adapter", "a"),
            "expected an address such as http://localhost:8000/v1",
        ),
        (
            ("--jarvis-base-url", "http://h/v1", "--jarvis-model", "base"),
            "base model base: there is no adapter to compare it with",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence_and_status_4(project, arguments: tuple[str, ...], said: str) -> None:
    told = project.refused(*arguments, engine="server")
    assert (said in told, "sk-secret" in told) == (True, False)


def test_a_name_that_is_not_served_ends_the_session_with_status_4(project, server) -> None:
    said = project.refused("--jarvis-base-url", server.url, *ARGUMENTS, "--jarvis-adapter", "other", engine="server")
    assert "no model 'other' is served there (--jarvis-adapter); served: base, lora" in said


def test_a_missing_library_names_the_extra_that_brings_it(project, monkeypatch) -> None:
    lacking = replace(server_engine.ENGINE, needs=("openai_that_is_not_there",))
    monkeypatch.setattr(server_engine, "ENGINE", lacking)
    said = project.refused("--jarvis-base-url", "http://h/v1", *ARGUMENTS, engine="server")
    assert 'openai_that_is_not_there not installed; pip install "pytest-jarvis[server]"' in said


SEEN = """
import os, sys

def pytest_unconfigure():
    with open(f"seen-{os.environ.get('PYTEST_XDIST_WORKER')}", "w", encoding="utf-8") as file:
        print(*sorted({"torch", "openai"} & set(sys.modules)), file=file)
"""


def test_workers_share_a_server_and_import_no_torch(project, server) -> None:
    (project.folder / "conftest.py").write_text(SEEN, encoding="utf-8")
    outcome = project.run_apart(
        *("-n", "2", "--jarvis-report-dir", "out", "--jarvis-engine", "server"),
        *("--jarvis-base-url", server.url, "--jarvis-samples", "2", *ARGUMENTS[:4]),
    )
    outcome.assert_outcomes(passed=3)
    report = project.report()
    assert (report.complete, report.metadata.engine) == (True, "server")
    assert [row.prompt_id for row in report.results] == ["c-1", "c-2", "q-1"]
    seen = {path.name: path.read_text(encoding="utf-8").split() for path in project.folder.glob("seen-*")}
    assert seen == {"seen-None": [], "seen-gw0": ["openai"], "seen-gw1": ["openai"]}


def test_a_run_whose_server_died_midway_is_completed_by_reuse(project, server, fault) -> None:
    project.configure(model={"retries": 0})
    sampled = ("--jarvis-samples", "4", "--jarvis-reuse")
    server.fault = lambda body, _: fault(cut_after=0) if "firefox" in str(body["messages"]) else None
    run(project, server, "--jarvis-report-dir", "first", *sampled)
    broken = project.report("first")
    assert (len(broken.failures), broken.complete) == (8, False)
    server.fault = lambda _body, _number: None
    server.asked.clear()
    run(project, server, "--jarvis-report-dir", "second", *sampled)
    whole = project.report("second")
    prompts = [body["messages"][-1]["content"] for body in server.asked]
    assert prompts.count("lance firefox") == 8
    assert not {"ouvre chrome", "plus un bruit"} & set(prompts), "what the store holds is not asked for again"
    assert (len(whole.failures), whole.complete) == (0, True)


def test_another_version_of_the_server_is_asked_for_everything_again(project, server) -> None:
    sampled = ("--jarvis-samples", "1", "--jarvis-reuse")
    run(project, server, "--jarvis-report-dir", "first", *sampled)
    server.paths = {"/version": {"version": "1.2.4"}}
    server.asked.clear()
    run(project, server, "--jarvis-report-dir", "second", *sampled)
    prompts = [body["messages"][-1]["content"] for body in server.asked]
    assert prompts.count("ouvre chrome") == 2


HOSTILE = "\x1b]0;pwn\x07\x1b[2J\x9b31mevil\x7f"


@pytest.mark.parametrize("where", ["names", "reason", "facts", "text"])
def test_what_a_server_says_controls_no_terminal(project, server, fault, where: str) -> None:
    server.names = (*server.names, HOSTILE) if where != "names" else (HOSTILE,)
    server.fault = lambda _body, number: fault(status=400, said=HOSTILE) if where == "reason" and number > 12 else None
    server.paths = {"/version": {"version": HOSTILE if where == "facts" else "1"}}
    server.reply = (lambda body: ("", f"{body['model']} {HOSTILE}", "stop")) if where == "text" else None
    outcome = run(project, server, "--jarvis-report-dir", "out", "--jarvis-samples", "1", "-vv")
    shown = outcome.stdout.str() + outcome.stderr.str()
    assert not {"\x1b", "\x07", "\x9b", "\x7f"} & set(shown)
    assert ("evil" in shown) == (where != "facts")
