"""`--jarvis-tools` and `--jarvis-guards`: calls are judged."""

from pathlib import Path

import pytest

TOOLS = """
[[tools]]
name = "open_app_tool"
description = "Ouvrir une application."
terms = ["ouvre", "application", "logiciel", "lance"]
[tools.parameters]
type = "object"
required = ["application"]
[tools.parameters.properties.application]
type = "string"

[[tools]]
name = "mute_tool"
description = "Couper le son."
terms = ["silence", "muet", "sourdine"]
parameters = { type = "object" }
"""
NO_TOOL = """
label = "Sans outil"

[[prompts]]
id = "st-1"
text = "merci"
keywords = ["plaisir", "service"]
no_tool = true
"""
MISHEARD = """
[[prompts]]
id = "m-1"
text = "ouvres crom"
intended = "ouvre chrome"
keywords = ["chrome", "ouvre"]
expected_tool = "open_app_tool"

[[prompts]]
id = "m-2"
text = "plus un bruie"
intended = "silence"
keywords = ["silence", "bruit"]
expected_tool = "mute_tool"
"""
CALLS = """
def script(request):
    if request.arm == "base":
        return "Je vais ouvrir cela."
    if request.text == "merci":
        return "Avec plaisir."
    name = "mute_tool" if "bruit" in request.text else "open_app_tool"
    arguments = "{}" if name == "mute_tool" else '{"application": "x"}'
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'
"""
HEARS = """
def script(request):
    heard = request.arm != "base" or request.text in ("ouvre chrome", "silence")
    if not heard:
        return "Pardon ?"
    return "Silence." if "silence" in request.text or "bruie" in request.text else "J'ouvre chrome."
"""


@pytest.fixture
def with_tools(project) -> Path:
    """The project with parameters for its tools and a category that is asked with tools only."""
    (project.prompts / "tools.toml").write_text(TOOLS, encoding="utf-8")
    folder = project.prompts / "with_tools"
    folder.mkdir()
    (folder / "conversation.toml").write_text(NO_TOOL, encoding="utf-8")
    return project.prompts


@pytest.mark.usefixtures("with_tools")
def test_calls_are_judged_and_prompts_without_a_tool_join(project, scripted_by) -> None:
    engine = scripted_by(CALLS)
    project.configure(
        benchmark={"gate": "point", "min_gain_percent": -100, "min_routing_accuracy": 1, "min_routing_gain": 0.5}
    )
    result = project.run("--jarvis-tools", "--jarvis-report-dir", "out", engine=engine)
    report = project.report()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["Bon outil choisi*33,3*100,0*"])
    reasons = {
        row.prompt_id: [sample.routing and sample.routing.reason for sample in row.samples[::4]]
        for row in report.results
    }
    expected = {
        "c-1": ["no_call", "right_tool"],
        "c-2": [None, None],
        "q-1": ["no_call", "right_tool"],
        "st-1": ["right_silence", "right_silence"],
    }
    assert expected == reasons
    assert ["open_app_tool", "mute_tool"] == [tool.name for tool in report.provenance.generation.tools]
    bars = {one.name: (one.value, one.verdict) for one in report.gate.thresholds if one.name.startswith("routing")}
    assert {"routing_accuracy": (1.0, "PASS"), "routing_gain": (pytest.approx(2 / 3), "PASS")} == bars
    project.run("--jarvis-replay", "out", "--jarvis-report-dir", "again", engine=None)
    assert [row.samples for row in report.results] == [row.samples for row in project.report("again").results]


@pytest.mark.usefixtures("with_tools")
def test_without_the_option_nothing_is_added(project, scripted_by) -> None:
    result = project.run("--jarvis-report-dir", "out", "--jarvis-gate", "off", engine=scripted_by(CALLS))
    result.assert_outcomes(passed=3)
    assert {None} == {sample.response.tool_calls for row in project.report().results for sample in row.samples}
    assert () == project.report().provenance.generation.tools


GUARDS = """
[[prompts]]
id = "g-1"
text = "ouvre chrome et coupe le son"
keywords = ["chrome", "son"]
expected_tool = "open_app_tool"
also = ["mute_tool"]

[[prompts]]
id = "g-2"
text = "ouvre"
keywords = ["quelle", "application"]
expected_tool = "open_app_tool"
right_deed = "ask"
"""


@pytest.mark.usefixtures("with_tools")
def test_guards_join_by_their_option_and_leave_the_gain_of_relevance_alone(project, scripted_by) -> None:
    (project.prompts / "guards").mkdir()
    (project.prompts / "guards" / "gardes.toml").write_text(GUARDS, encoding="utf-8")
    without = project.run("--jarvis-report-dir", "out", "--jarvis-samples", "4", engine=scripted_by(HEARS))
    guarded = project.run(
        "--jarvis-guards", "--jarvis-report-dir", "with", "--jarvis-samples", "4", engine=scripted_by(HEARS)
    )
    plain, full = project.report("out"), project.report("with")
    assert (3, 5) == (len(plain.results), len(full.results))
    assert (without.ret, plain.decisions) == (guarded.ret, full.decisions)
    added = [row for row in full.results if row.category == "gardes"]
    assert {None} == {row.figure("jarvis_relevance").finetuned for row in added}
    choices = {row.prompt_id: row.samples[0].routing and row.samples[0].routing.reason for row in added}
    assert {"g-1": None, "g-2": "right_silence"} == choices


@pytest.mark.usefixtures("with_tools")
def test_a_bar_on_the_choice_that_is_missed_fails_the_run(project, scripted_by) -> None:
    project.configure(benchmark={"gate": "point", "min_gain_percent": -100, "min_routing_gain": 0.9})
    assert 1 == project.run("--jarvis-tools", "--jarvis-report", engine=scripted_by(CALLS)).ret


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--jarvis-template", "raw"), "the template 'raw' offers no tool; use 'chat'"),
        (("--jarvis-replay", "out"), "--jarvis-tools: --jarvis-replay scores responses that are drawn already"),
    ],
)
def test_tools_that_could_not_be_offered_are_refused(project, options: tuple[str, str], expected: str) -> None:
    engine = None if "--jarvis-replay" in options else "scripted"
    assert expected in project.refused("--jarvis-tools", *options, engine=engine)


def test_a_server_is_not_asked_for_calls_yet(project) -> None:
    said = project.refused("--jarvis-tools", "--jarvis-base-url", "http://127.0.0.1:9/v1", engine="server")
    assert "the engine 'server' offers no tools yet" in said
