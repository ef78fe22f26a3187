"""The last words of a comparison: what the tests show, with what it may come from, and no more."""

from collections.abc import Callable

import msgspec
import pytest

from pytest_jarvis.render.french.saved_runs import conclusion
from pytest_jarvis.report.comparison import RunComparison, compare_runs
from pytest_jarvis.report.schema import Report
from pytest_jarvis.stats.regression import find_shifts

MakeReport = Callable[..., Report]
change = msgspec.structs.replace


def said(before: Report, after: Report, edit: Callable[[RunComparison], RunComparison] = lambda found: found) -> str:
    found = edit(compare_runs(before, after))
    return " ".join(conclusion(found, found.arms[0], after)).replace("\u00a0", " ")


@pytest.mark.parametrize("edited", ["version", "machine", "timeout"])
def test_what_ran_the_model_is_named_as_a_cause_where_it_differs(make_report, edited: str) -> None:
    after = make_report(gains={"jarvis": 0.9}, seed=2)
    origin = after.provenance
    other = {
        "version": change(origin, versions={**origin.versions, "torch": "9.9"}),
        "machine": change(origin, machine=change(origin.machine, processor="autre")),
        "timeout": change(origin, generation=change(origin.generation, timeout_s=7.0)),
    }[edited]
    before = make_report(gains={"jarvis": 0.0})
    assert "Des réglages diffèrent" not in said(before, after)
    assert "Des réglages diffèrent aussi" in said(before, change(after, provenance=other))


def test_a_shift_is_proven_only_where_its_corrected_interval_leaves_zero_out() -> None:
    scopes = {
        "": ([[0.1, 0.2, 0.1]] * 4, [[0.5, 0.6, 0.5]] * 4),
        "a": ([[0.5, 0.6, 0.5]] * 2, [[0.1, 0.2, 0.1]] * 2),
        "b": ([[0.1, 0.9, 0.5]] * 2, [[0.2, 0.9, 0.5]] * 2),
        "c": ([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2),
        "d": ([[0.5]], [[0.6]]),
    }
    shifts = {one.category: one for one in find_shifts(scopes)}
    assert {name: one.proven for name, one in shifts.items()} == {
        "": "rise",
        "a": "drop",
        "b": None,
        "c": None,
        "d": None,
    }
    assert shifts["d"].corrected is None
    for one in shifts.values():
        if one.corrected is not None and one.difference.standard_error:
            assert (one.proven is None) == (one.corrected[0] <= 0 <= one.corrected[1])
