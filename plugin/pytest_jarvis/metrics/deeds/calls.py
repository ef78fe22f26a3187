"""Tool calls written in the text of an answer: JSON, tags, lines, functions; read leniently, even when cut."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from pytest_jarvis.types import ToolCall

_NAME_KEYS: Final = (
    "name",
    "tool",
    "tool_name",
    "function",
    "function_name",
    "action",
    "tool_call",
    "command",
    "fonction",
    "outil",
    "call",
    "method",
)
_ARGUMENT_KEYS: Final = (
    "arguments",
    "args",
    "parameters",
    "params",
    "input",
    "action_input",
    "tool_input",
    "kwargs",
    "inputs",
)
_CUT_NAME: Final = re.compile(r'"(?:' + "|".join(_NAME_KEYS) + r')"\s*:\s*"([A-Za-z_]\w+)"')
_CUT_PAIR: Final = re.compile(r'"(\w+)"\s*:\s*("[^"]*"?|-?\d+(?:\.\d+)?|true|false)')
_TAG_NAME: Final = re.compile(
    r"<(?:function|invoke|tool|tool_call|call)(?:=|\s+name=)[\"']?([A-Za-z_]\w*)[\"']?[^>]*?/?>"
)
_TAG_PAIR: Final = re.compile(r"<(?:parameter|param|argument|arg)(?:=|\s+name=)[\"']?(\w+)[\"']?\s*>([^<]*)")
_PLAIN_TAG: Final = re.compile(r"<([a-z_]\w*)>([^<]*)(?=<)")
_LINE: Final = re.compile(
    r"(?im)^\W*(?:action|tool|outil|function|fonction|name|call|appel)\s*[:=]\s*[`\"']?([a-z]\w*)"
)
_HEADINGS: Final = frozenset({"args", "arguments", "input", "parameters", "observation", "thought", "action", "result"})
_QUERY: Final = re.compile(r"(is|has|get|check|est|find)_")
_PAIR: Final = re.compile(r"(\w+)\s*[=:]\s*(\"[^\"]*\"?|'[^']*'?|«[^»]*»?|[^,)\n]+)")
_POSITION: Final = re.compile(r"^\s*(\"[^\"]*\"|'[^']*'|-?\d+(?:\.\d+)?)\s*$")


def find_calls(text: str, tools: Collection[str]) -> tuple[ToolCall, ...]:
    """Return the calls in `text`, in their order; names are those of `tools` where they can be told."""
    known = {_bare(name): name for name in tools}
    readers = (_json_calls, _tag_calls, _line_calls, _function_calls)
    found = next((calls for reader in readers if (calls := [*reader(text, known)])), [])
    return tuple(found) or _cut_call(text, known)


def _bare(name: str) -> str:
    return name.removesuffix("_tool").removesuffix("()").casefold().replace("-", "_")


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
        return
    if not isinstance(value, dict):
        return
    key = next((key for key in _NAME_KEYS if isinstance(value.get(key), str) and _is_name(value[key], known)), None)
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
    for key in _ARGUMENT_KEYS:
        given = value.get(key)
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                return {key: given}
        if isinstance(given, dict):
            return given
    return {key: one for key, one in value.items() if key != name_key and not isinstance(one, (dict, list))}


def _ends(marks: Sequence[re.Match[str]], text: str) -> list[int]:
    """Return where what follows each mark ends: at the next one."""
    return [*(mark.start() for mark in marks[1:]), len(text)] if marks else []


def _tag_calls(text: str, known: Mapping[str, str]) -> Iterator[ToolCall]:
    marks = list(_TAG_NAME.finditer(text))
    for mark, end in zip(marks, _ends(marks, text), strict=True):
        body = text[mark.end() : end]
        pairs = _TAG_PAIR.findall(body) or _PLAIN_TAG.findall(body)
        yield ToolCall(name=known.get(_bare(mark[1]), mark[1]), arguments={key: _value(one) for key, one in pairs})
    if marks:
        return
    for match in re.finditer(r"<([a-z_]\w*)\s*([^<>]*?)/?>", text):
        if _bare(match[1]) in known:
            end = text.find(f"</{match[1]}>", match.end())
            body = text[match.end() : end if end >= 0 else len(text)]
            pairs = re.findall(r"(\w+)=[\"']([^\"']*)", match[2]) + _PLAIN_TAG.findall(body + "<")
            yield ToolCall(name=known[_bare(match[1])], arguments={key: _value(one) for key, one in pairs})


def _function_calls(text: str, known: Mapping[str, str]) -> Iterator[ToolCall]:
    for match in re.finditer(r"(?<![\w.])([A-Za-z_]\w*)\(([^()\n]*)(?:\)|$)", text, re.MULTILINE):
        name = known.get(_bare(match[1]))
        if name is None and (_QUERY.match(match[1]) or not re.search(r"[a-z]_[a-z]", match[1])):
            continue
        pairs: dict[str, object] = {key: _value(one) for key, one in _PAIR.findall(match[2])}
        if not pairs and (single := _POSITION.match(match[2])):
            pairs = {"": _value(single[1])}
        yield ToolCall(name=name or match[1], arguments=pairs)


def _line_calls(text: str, known: Mapping[str, str]) -> Iterator[ToolCall]:
    """Yield calls written in lines: « Action: NAME », then « Action Input: ... » or « argument: value »."""
    marks = [mark for mark in _LINE.finditer(text) if _bare(mark[1]) in known]
    for mark, end in zip(marks, _ends(marks, text), strict=True):
        body = text[mark.end() : end]
        pairs: dict[str, object] = {
            key: _value(one) for key, one in _PAIR.findall(body) if key.casefold() not in _HEADINGS
        }
        quoted = re.search(r"input\s*:\s*(\{.*\}|\"[^\"\n]*\")", body, re.IGNORECASE)
        given = _value(quoted[1]) if quoted else None
        yield ToolCall(
            name=known[_bare(mark[1])], arguments=given if isinstance(given, dict) else {"": given} if given else pairs
        )


def _cut_call(text: str, known: Mapping[str, str]) -> tuple[ToolCall, ...]:
    """Return the call of JSON that ends too early, with the arguments that are there; nothing without one."""
    match = _CUT_NAME.search(text)
    if match is None or not _is_name(match[1], known):
        return ()
    rest = text[match.end() :]
    pairs = {key: _value(one) for key, one in _CUT_PAIR.findall(rest)}
    return (ToolCall(name=known.get(_bare(match[1]), match[1]), arguments=pairs, problem="not_json"),)


def _value(raw: str) -> object:
    text = raw.strip()
    try:
        value: object = json.loads(text)
    except ValueError:
        return text.strip("\"'«» ") if text not in {"True", "False"} else text == "True"
    return value
