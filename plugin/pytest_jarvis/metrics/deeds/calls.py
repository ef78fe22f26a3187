"""Tool calls in the text of an answer, read leniently in any syntax, and what each does to the wish."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal

from pytest_jarvis.metrics.deeds.lexicon import Lexicon
from pytest_jarvis.metrics.deeds.match import compare_values
from pytest_jarvis.metrics.deeds.sentences import quantities, read_sentences
from pytest_jarvis.metrics.deeds.wish import Namer, Wish
from pytest_jarvis.text import value_allowed
from pytest_jarvis.types import PromptCase, Tool, ToolCall

CallFault = Literal["other_tool", "other_action", "other_target", "other_value"]
"""other_tool: not the tool that was meant. other_action: that tool, told to do something else (a choice, yes or no).
other_target, other_value: an argument that names another thing, or another number."""

_NAME_KEYS: Final = "name tool tool_name function function_name action tool_call command fonction outil call method"
_ARGUMENT_KEYS: Final = "arguments args parameters params input action_input tool_input kwargs inputs"
_NO_ARGUMENTS: Final = frozenset(f"{_ARGUMENT_KEYS} observation thought result résultat".split())
_CUT_NAME: Final = re.compile(rf'"(?:{_NAME_KEYS.replace(" ", "|")})"\s*:\s*"([A-Za-z_]\w+)"')
_NAME: Final = re.compile(
    r"(?P<tag><(?:function|invoke|tool|tool_call|call)(?:=|\s+name=)[\"']?)?(?<![\w.])(?P<name>[A-Za-z]\w*)"
)
_QUERY: Final = re.compile(r"(is|has|get|check|est|find)_")
_TAGGED: Final = re.compile(r"<(?:parameter|param|argument|arg)(?:=|\s+name=)[\"']?(\w+)[\"']?\s*>([^<]*)")
_PLAIN_TAG: Final = re.compile(r"<([a-z_]\w*)>([^<]*)(?=<|$)")
_PAIR: Final = re.compile(r"[\"']?(\w+)[\"']?\s*[=:]\s*(\"[^\"]*\"?|'[^']*'?|«[^»]*»?|[^,){}\n]+)")
_POSITION: Final = re.compile(r"^\W{0,2}(?:\w+ \w+ ?: ?)?(\"[^\"]*\"|'[^']*'|-?\d+(?:\.\d+)?)\W*$")


def find_calls(text: str, tools: Collection[str]) -> tuple[ToolCall, ...]:
    """Return the calls in `text`, in their order; names are those of `tools` where they can be told."""
    known = {_bare(name): name for name in tools}
    return tuple(_json_calls(text, known)) or tuple(_named_calls(text, known))


def _bare(name: str) -> str:
    return name.removesuffix("_tool").casefold().replace("-", "_")


def _json_calls(text: str, known: Mapping[str, str]) -> Iterator[ToolCall]:
    decoder = json.JSONDecoder()
    at = 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield from _calls_of(value, known)
        at = end


def _calls_of(value: object, known: Mapping[str, str]) -> Iterator[ToolCall]:
    """Yield the calls of a decoded object, nested ones among them."""
    if isinstance(value, list):
        for one in value:
            yield from _calls_of(one, known)
    if not isinstance(value, dict):
        return
    key = next(
        (key for key in _NAME_KEYS.split() if isinstance(value.get(key), str) and _is_name(value[key], known)), None
    )
    if key is not None:
        yield ToolCall(name=known.get(_bare(value[key]), value[key]), arguments=_arguments(value, key))
        return
    for name, inner in value.items():
        if _bare(str(name)) in known and isinstance(inner, dict):
            yield ToolCall(name=known[_bare(str(name))], arguments=inner)
        else:
            yield from _calls_of(inner, known)


def _is_name(value: str, known: Mapping[str, str]) -> bool:
    return _bare(value) in known or bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(?:[_.][A-Za-z0-9]+)+", value))


def _arguments(value: Mapping[str, object], name_key: str) -> dict[str, object]:
    for key in _ARGUMENT_KEYS.split():
        given = value.get(key)
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                return {key: given}
        if isinstance(given, dict):
            return given
    return {key: one for key, one in value.items() if key != name_key and not isinstance(one, (dict, list))}


def _named_calls(text: str, known: Mapping[str, str]) -> Iterator[ToolCall]:
    """Yield calls that are no whole JSON: a tool's name in the syntax of a call, and what follows it up to the next."""
    marks = [mark for mark in _NAME.finditer(text) if _is_called(mark, text, known)]
    for mark, following in zip_longest(marks, marks[1:]):
        body = text[mark.end() : following.start() if following else len(text)]
        name = known.get(_bare(mark["name"]), mark["name"])
        yield ToolCall(name=name, arguments=_pairs(body), problem="not_json" if '"' in text[: mark.start()] else None)


def _is_called(mark: re.Match[str], text: str, known: Mapping[str, str]) -> bool:
    name, before, after = mark["name"], text[: mark.start()].rstrip(" "), text[mark.end() :].lstrip(" ")
    if mark["tag"]:
        return True
    if _bare(name) in known and "_" in name:
        return not before or before.endswith(tuple("\n:=><\"'`[(")) or after.startswith(("(", "{", ":", "<"))
    cut = _CUT_NAME.search(text)
    if cut is not None and cut.start(1) == mark.start():
        return _is_name(name, known)
    return after[:1] == "(" and (
        _bare(name) in known or (bool(re.search("[a-z]_[a-z]", name)) and not _QUERY.match(name))
    )


def _pairs(body: str) -> dict[str, object]:
    """Return the arguments in what follows a tool's name: JSON, tags, `key=value`, `key: value`, or one value alone."""
    pairs = _TAGGED.findall(body) or _PLAIN_TAG.findall(body) or _PAIR.findall(body)
    found = {key: _value(one) for key, one in pairs if key.casefold() not in _NO_ARGUMENTS}
    single = None if found else _POSITION.match(body)
    return {"": _value(single[1])} if single else found


def _value(raw: str) -> object:
    text = raw.strip()
    try:
        value: object = json.loads(text)
    except ValueError:
        return text.strip("\"'«»`;/> ") if text not in {"True", "False"} else text == "True"
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMatch:
    """One call, judged; without a fault it is the deed that was meant."""

    call: ToolCall
    fault: CallFault | None
    argument: str | None = None
    """The argument that is at fault."""


def match_call(
    call: ToolCall, case: PromptCase, wish: Wish, namer: Namer, *, tools: Mapping[str, Tool], lexicon: Lexicon
) -> CallMatch:
    """Judge one call: its tool, then each argument as the prompt expects it, else as the command names it."""
    if call.name != wish.tool:
        return CallMatch(call=call, fault="other_tool")
    own = tools.get(wish.tool or "")
    declared = own.parameters.get("properties") if own else None
    schemas = declared if isinstance(declared, Mapping) else {}
    expected = case.expected_arguments or {}
    for name, value in call.arguments.items():
        if name in expected and value_allowed(value, expected[name]):
            continue
        fault: CallFault | None = None
        if _is_choice(schemas.get(name)):
            fault = "other_action" if name in expected or value is False else None
        elif isinstance(value, str):
            fault = _text_fault(value, wish, namer, lexicon, free=bool(expected) and name not in expected)
        elif isinstance(value, (int, float)):
            fault = _number_fault(name, float(value), expected, wish)
        if fault is not None:
            return CallMatch(call=call, fault=fault, argument=name)
    return CallMatch(call=call, fault=None)


def _is_choice(schema: object) -> bool:
    return isinstance(schema, Mapping) and ("enum" in schema or schema.get("type") == "boolean")


def _number_fault(name: str, value: float, expected: Mapping[str, object], wish: Wish) -> CallFault | None:
    """Return a fault where a number was said and is another; a value that nobody gave is free."""
    scale = {"minutes": 60.0, "minute": 60.0, "hours": 3600.0, "heures": 3600.0}.get(name, 1.0)
    wanted = {one.value for one in wish.quantities}
    if name not in expected and not wanted:
        return None
    return None if value * scale in wanted or value in wanted else "other_value"


def _text_fault(value: str, wish: Wish, namer: Namer, lexicon: Lexicon, *, free: bool) -> CallFault | None:
    """Return a fault where a text names something of its own, and nothing that the command named, unless `free`."""
    words = [word for sentence in read_sentences(value) for word in sentence.words]
    said = quantities([word.plain for word in words])
    if said and wish.quantities and compare_values(said, wish) == "conflict":
        return "other_value"
    if any(word.stem in wish.rivals and not namer.slots(word.stem) for word in words):
        return "other_target"
    named = any(len(word.plain) > 2 and word.plain not in lexicon.words["function"] for word in words)
    hit = any(namer.slots(word.stem) for word in words)
    return "other_target" if named and wish.slots and not hit and not free else None
