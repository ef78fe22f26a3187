"""What a reader handles the cases with: views, search, filters, order, keys. The script brings it to life."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_jarvis.render.french import page as wording
from pytest_jarvis.render.french.labels import tuned_arm
from pytest_jarvis.render.french.metrics import label_of, names_of
from pytest_jarvis.render.html.markup import Html, element, join
from pytest_jarvis.report.schema import Report


def toolbar(report: Report) -> Html:
    """Return the controls of the list of cases."""
    tuned = tuned_arm(report)
    sorts = {name: label.format(tuned=tuned) for name, label in wording.SORTS.items()}
    for place, spec in enumerate(names_of(report).values()):
        if spec.per == "pair":
            sorts[f"extra-{place}-tuned"] = label_of(spec)
        else:
            sorts[f"extra-{place}-change"] = wording.EXTRA_CHANGE.format(name=spec.label)
            sorts[f"extra-{place}-tuned"] = wording.EXTRA_TUNED.format(name=spec.label, tuned=tuned)
    categories = {"": wording.EVERY_CATEGORY} | {name: item.label for name, item in report.by_category.items()}
    adapters = {name: name for name in report.metadata.adapters} | {"": wording.EVERY_ADAPTER}
    return element(
        "div",
        element(
            "div",
            *(_view(name, label) for name, label in wording.VIEWS.items()),
            class_="views",
            role="group",
            aria_label=wording.SHOW,
        ),
        element(
            "div",
            _search(),
            _select("category", wording.CATEGORY, categories),
            _select("adapter", wording.ADAPTER, adapters) if len(report.metadata.adapters) > 1 else None,
            _select("sort", wording.SORT, sorts),
            element("button", "↑", type="button", id="direction"),
            class_="choices",
        ),
        element(
            "div",
            element("p", id="count", role="status", aria_live="polite"),
            element("button", wording.RESET, type="button", id="reset", hidden=True),
            element("button", wording.DIFFERENCES, type="button", id="differences", aria_pressed="false"),
            element("button", wording.UNFOLD, type="button", id="unfold", aria_pressed="false"),
            _keyboard(),
            class_="actions",
        ),
        class_="toolbar",
    )


def legend(report: Report) -> Html:
    """Return what the marks in the responses mean; which half is seen depends on what is shown."""
    return element(
        "p",
        wording.LEGEND,
        " ",
        element(
            "span",
            element("mark", wording.LEGEND_KEYWORD, class_="keyword"),
            " ",
            element("mark", wording.LEGEND_TERM, class_="term"),
            class_="of-marks",
        ),
        element(
            "span",
            element("del", wording.LEGEND_GONE, class_="gone"),
            " ",
            element("ins", wording.LEGEND_NEW.format(tuned=tuned_arm(report)), class_="new"),
            class_="of-differences",
        ),
        class_="legend",
    )


def _view(name: str, label: str) -> Html:
    return element(
        "button", label, " ", element("span", class_="n"), type="button", data_view=name, aria_pressed="false"
    )


def _search() -> Html:
    return element(
        "label",
        element("span", wording.SEARCH),
        element(
            "input", type="search", id="search", placeholder=wording.SEARCH_HINT, autocomplete="off", spellcheck="false"
        ),
        class_="search",
    )


def _select(name: str, label: str, options: Mapping[str, str]) -> Html:
    return element(
        "label",
        element("span", label),
        element("select", *(element("option", shown, value=value) for value, shown in options.items()), id=name),
    )


def _keyboard() -> Html:
    keys = (
        join(element("dt", *(element("kbd", key) for key in names.split())), element("dd", does))
        for names, does in wording.KEYS.items()
    )
    return element(
        "details",
        element("summary", wording.KEYBOARD),
        element(
            "div",
            element("dl", *keys),
            element("label", element("input", type="checkbox", id="keys", checked=True), " ", wording.KEYBOARD_ON),
            class_="popover",
        ),
        class_="keyboard",
    )
