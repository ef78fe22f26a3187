"""HTML that is safe by construction: what is not `Html` is text, and text is escaped."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "col", "hr", "img", "input", "meta"})
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of what is not seen: controls, directions, lone surrogates, separators of lines."""
_JOINER: Final = "\u200d"

Attribute = str | int | float | bool | None


class Html(str):
    """Markup that may be inserted as it stands."""

    __slots__ = ()


def is_hidden(char: str) -> bool:
    """Whether a reader would not see the character, or would see others turned around by it; line ends apart."""
    return char not in "\n\t" and unicodedata.category(char) in _HIDDEN


def code_point(char: str) -> str:
    """Return the character's number as Unicode writes it: « U+202E »."""
    return f"U+{ord(char):04X}"


def text(value: str) -> Html:
    """Return a text as markup: escaped, and what is hidden in it shown by its number."""
    if value.isprintable():
        return Html(escape(value))
    parts = []
    for place, char in enumerate(value):
        if is_hidden(char) and not _joins_pictures(value, place):
            parts.append(f'<span class="hidden-char">{code_point(char)}</span>')
        else:
            parts.append(escape(char))
    return Html("".join(parts))


def plain(value: str) -> str:
    """Return a text for an attribute: what is hidden in it written by its number."""
    if value.isprintable():
        return value
    return "".join(f"[{code_point(char)}]" if is_hidden(char) else char for char in value)


def foreign(value: str) -> Html:
    """Return a text that a model, a user or a machine wrote: kept apart from the direction of ours."""
    return element("bdi", value)


def element(name: str, *children: str | None, **attributes: Attribute) -> Html:
    """Return an element. Children that are not `Html` are escaped, None is left out.

    Attributes: `_` stands for `-` and a last one is dropped (`class_`); True is an attribute without a value, False and
    None leave it out.
    """
    opened = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{opened}>")
    return Html(f"<{name}{opened}>{join(*children)}</{name}>")


def join(*children: str | None) -> Html:
    """Return the children one after the other; those that are not `Html` are escaped, None is left out."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children if child is not None))


def arm_class(adapter: int) -> str:
    """Return the class that gives an adapter its colour, by its place; there are four."""
    return f"arm-{adapter % 4}"


def listed(items: Iterable[str], separator: str = ", ") -> Html:
    """Return the items one after the other with a separator between them."""
    parts: list[str] = []
    for item in items:
        parts += [separator, item] if parts else [item]
    return join(*parts)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(plain(str(value)))}"'


def _joins_pictures(value: str, place: int) -> bool:
    """Whether a zero-width joiner stands between two pictures, as in the signs of families and professions."""
    if value[place] != _JOINER or not 0 < place < len(value) - 1:
        return False
    return all(unicodedata.category(char) in {"So", "Sk", "Mn"} for char in (value[place - 1], value[place + 1]))
