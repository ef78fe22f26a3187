"""`metrics.tool_choice`: calls as they are read from a reply, and each reason for which a choice is right or wrong."""

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_jarvis.engines.base import read_calls
from pytest_jarvis.inputs.prompts import check_schema, is_json
from pytest_jarvis.metrics.deeds import Outcome
from pytest_jarvis.metrics.tool_choice import Routing, judge_calls, routing_of, unfit_argument
from pytest_jarvis.text import value_allowed
from pytest_jarvis.types import OutcomeKind, PromptCase, Tool, ToolCall

TIMER = Tool(
    name="set_timer_tool",
    description="",
    terms=(),
    parameters={
        "type": "object",
        "required": ["minutes"],
        "properties": {
            "minutes": {"type": "number", "exclusiveMinimum": 0},
            "sound": {"type": "string", "enum": ["bell", "horn"]},
            "label": {"$ref": "#/$defs/label"},
        },
        "$defs": {"label": {"type": "string", "maxLength": 5}},
    },
)
LOCK = Tool(name="lock_screen_tool", description="", terms=(), parameters={"type": "object"})
OPEN_ENDED = Tool(
    name="note_tool",
    description="",
    terms=(),
    parameters={"type": "object", "additionalProperties": {"type": "string"}},
)
TOOLS = {tool.name: tool for tool in (TIMER, LOCK, OPEN_ENDED)}


def case(**wish: Any) -> PromptCase:
    return PromptCase(prompt_id="p", category="c", text="t", keywords=("a", "b"), **wish)


WANTS_TIMER = case(expected_tool="set_timer_tool")
WANTS_TEN = case(expected_tool="set_timer_tool", expected_arguments={"minutes": 10})
WANTS_NONE = case(no_tool=True)


def call(name: str | None = "set_timer_tool", **arguments: object) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("Bien sûr.", ()),
        ('{"name": "a", "arguments": {}}', ()),
        ('<tool_call>\n{"name": "a", "arguments": {"x": 1}}\n</tool_call>', (call("a", x=1),)),
        ('Oui. <tool_call>{"arguments": {}, "name": " a "}</tool_call> Voilà.', (call("a"),)),
        ('<tool_call>{"name": "a"}</tool_call>', (call("a"),)),
        ('<tool_call>{"name": "a", "id": 3}</tool_call>', (call("a"),)),
        ('<tool_call>{"name": "a"}</tool_call><tool_call>{"name": "b"}</tool_call>', (call("a"), call("b"))),
        ('<tool_call>{"name": "a"}', (ToolCall(name=None, problem="not_closed"),)),
        ('<tool_call><tool_call>{"name": "a"}</tool_call>', (ToolCall(name=None, problem="not_closed"), call("a"))),
        ('{"name": "a"}</tool_call>', (ToolCall(name=None, problem="not_opened"),)),
        ("<tool_call>a()</tool_call>", (ToolCall(name=None, problem="not_json"),)),
        ("<tool_call></tool_call>", (ToolCall(name=None, problem="not_json"),)),
        ('<tool_call>{"name": NaN}</tool_call>', (ToolCall(name=None, problem="not_json"),)),
        ('<tool_call>{"name": "\\ud800"}</tool_call>', (ToolCall(name=None, problem="not_json"),)),
        ('<tool_call>{"name": "\ud800"}</tool_call>', (ToolCall(name=None, problem="not_json"),)),
        (f"<tool_call>{'[' * 50_000}</tool_call>", (ToolCall(name=None, problem="not_json"),)),
        ('<tool_call>["a"]</tool_call>', (ToolCall(name=None, problem="not_object"),)),
        ('<tool_call>{"arguments": {}}</tool_call>', (ToolCall(name=None, problem="no_name"),)),
        ('<tool_call>{"name": " "}</tool_call>', (ToolCall(name=None, problem="no_name"),)),
        ('<tool_call>{"name": 3}</tool_call>', (ToolCall(name=None, problem="no_name"),)),
        (
            '<tool_call>{"name": "a", "arguments": "{}"}</tool_call>',
            (ToolCall(name="a", problem="arguments_not_object"),),
        ),
        (
            '<tool_call>{"name": "a", "arguments": null}</tool_call>',
            (ToolCall(name="a", problem="arguments_not_object"),),
        ),
    ],
)
def test_the_calls_of_a_reply_are_read(text: str, expected: tuple[ToolCall, ...]) -> None:
    assert expected == read_calls(text)


@pytest.mark.parametrize(
    ("calls", "wish", "expected"),
    [
        ([], WANTS_TIMER, Routing(reason="no_call")),
        ([], WANTS_NONE, Routing(reason="right_silence")),
        ([call(minutes=5)], WANTS_TIMER, Routing(reason="right_tool", tool="set_timer_tool")),
        ([call(minutes=10.0)], WANTS_TEN, Routing(reason="right_tool", tool="set_timer_tool")),
        ([call(minutes=5), call(minutes=5)], WANTS_TIMER, Routing(reason="several_calls")),
        ([call(minutes=5)] * 2, WANTS_NONE, Routing(reason="several_calls")),
        ([ToolCall(name=None, problem="not_json")], WANTS_TIMER, Routing(reason="malformed_call", problem="not_json")),
        (
            [ToolCall(name="set_timer_tool", problem="arguments_not_object")],
            WANTS_NONE,
            Routing(reason="malformed_call", problem="arguments_not_object"),
        ),
        ([call("lamp_tool")], WANTS_TIMER, Routing(reason="unknown_tool", tool="lamp_tool")),
        ([call("lamp_tool")], WANTS_NONE, Routing(reason="unknown_tool", tool="lamp_tool")),
        ([call("lock_screen_tool")], WANTS_NONE, Routing(reason="unwanted_call", tool="lock_screen_tool")),
        ([call("lock_screen_tool")], WANTS_TIMER, Routing(reason="wrong_tool", tool="lock_screen_tool")),
        ([call()], WANTS_TIMER, Routing(reason="missing_argument", tool="set_timer_tool", argument="minutes")),
        (
            [call(minutes=5)],
            case(expected_tool="set_timer_tool", expected_arguments={"sound": "bell"}),
            Routing(reason="missing_argument", tool="set_timer_tool", argument="sound"),
        ),
        (
            [call(minutes=5, hours=1)],
            WANTS_TIMER,
            Routing(reason="unexpected_argument", tool="set_timer_tool", argument="hours"),
        ),
        (
            [call("lock_screen_tool", now=True)],
            case(expected_tool="lock_screen_tool"),
            Routing(reason="unexpected_argument", tool="lock_screen_tool", argument="now"),
        ),
        (
            [call(minutes="dix")],
            WANTS_TIMER,
            Routing(reason="wrong_argument", tool="set_timer_tool", argument="minutes"),
        ),
        ([call(minutes=0)], WANTS_TIMER, Routing(reason="wrong_argument", tool="set_timer_tool", argument="minutes")),
        (
            [call(minutes=5, sound="drum")],
            WANTS_TIMER,
            Routing(reason="wrong_argument", tool="set_timer_tool", argument="sound"),
        ),
        ([call(minutes=11)], WANTS_TEN, Routing(reason="wrong_argument", tool="set_timer_tool", argument="minutes")),
        (
            [call("note_tool", anything="x")],
            case(expected_tool="note_tool"),
            Routing(reason="right_tool", tool="note_tool"),
        ),
        (
            [call("note_tool", anything=3)],
            case(expected_tool="note_tool"),
            Routing(reason="wrong_argument", tool="note_tool", argument="anything"),
        ),
        ([call(minutes=5)], case(), None),
    ],
)
def test_a_call_is_judged_with_its_reason(calls: list[ToolCall], wish: PromptCase, expected: Routing | None) -> None:
    assert expected == judge_calls(calls, wish, TOOLS)


@pytest.mark.parametrize(
    ("kind", "tool", "wish", "expected"),
    [
        ("done", "set_timer_tool", WANTS_TIMER, Routing(reason="right_tool", tool="set_timer_tool")),
        ("wrong_target", "set_timer_tool", WANTS_TIMER, Routing(reason="right_tool", tool="set_timer_tool")),
        ("wrong_action", "lock_screen_tool", WANTS_TIMER, Routing(reason="wrong_tool", tool="lock_screen_tool")),
        ("wrong_action", "set_timer_tool", WANTS_TIMER, Routing(reason="wrong_tool")),
        ("several", "set_timer_tool", WANTS_TIMER, Routing(reason="several_calls")),
        ("not_done", None, WANTS_TIMER, Routing(reason="no_call")),
        ("done", None, WANTS_NONE, Routing(reason="right_silence")),
        ("wrong_action", "lock_screen_tool", WANTS_NONE, Routing(reason="unwanted_call", tool="lock_screen_tool")),
        ("done", None, case(), None),
    ],
)
def test_a_deed_chooses_its_tool(
    kind: OutcomeKind, tool: str | None, wish: PromptCase, expected: Routing | None
) -> None:
    assert expected == routing_of(Outcome(kind=kind, reason="announced", tool=tool), wish)


def test_only_the_right_tool_and_the_right_silence_are_right() -> None:
    assert [True, True, False] == [
        Routing(reason=reason).right for reason in ("right_tool", "right_silence", "wrong_argument")
    ]


@pytest.mark.parametrize(
    ("value", "expected", "allowed"),
    [
        ("Chrome", "chrome", True),
        ("telechargements", "Téléchargements", True),
        ("edge", ["chrome", "edge"], True),
        ("opera", ["chrome", "edge"], False),
        (10, 10.0, True),
        (10, "10", False),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        (["a"], ["a"], True),
        (["a"], ["a", "b"], False),
        ({"a": 1}, {"a": 1}, True),
        (None, "x", False),
    ],
)
def test_a_value_is_compared_with_the_expected_one(value: object, expected: object, *, allowed: bool) -> None:
    assert allowed == value_allowed(value, expected)


@pytest.mark.parametrize(
    ("given", "schema", "expected"),
    [
        ({"minutes": 5, "label": "thé"}, TIMER.parameters, None),
        ({"minutes": 5, "label": "trop long"}, TIMER.parameters, "label"),
        ({"b": 1, "a": 1}, {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, "b"),
        ({"a": 1}, {"minProperties": 2}, ""),
        ({"a": 1}, {"properties": {"a": {"$ref": "https://example.invalid/schema"}}}, ""),
    ],
)
def test_the_first_argument_that_its_schema_refuses_is_found(
    given: Mapping[str, object], schema: Mapping[str, object], expected: str | None
) -> None:
    assert expected == unfit_argument(given, schema)


def test_arguments_that_do_not_fit_together_are_wrong_without_a_name() -> None:
    pair = Tool(name="pair_tool", description="", terms=(), parameters={"type": "object", "minProperties": 1})
    wish = case(expected_tool="pair_tool")
    assert Routing(reason="wrong_argument", tool="pair_tool") == judge_calls(
        [call("pair_tool")], wish, {"pair_tool": pair}
    )


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (TIMER.parameters, None),
        ({"type": "objet"}, "type: 'objet' is not valid under any of the given schemas"),
        ({"properties": {"a": {"minimum": "1"}}}, "properties.a.minimum: '1' is not of type 'number'"),
        ({"properties": []}, "properties: [] is not of type 'object'"),
    ],
)
def test_a_schema_that_is_none_is_told(schema: Mapping[str, object], expected: str | None) -> None:
    assert expected == check_schema(schema)


@pytest.mark.parametrize(
    ("value", "expected"), [({"a": [1, None]}, True), (float("nan"), False), ({"a": object()}, False)]
)
def test_what_json_has_is_known(value: object, *, expected: bool) -> None:
    assert expected == is_json(value)
