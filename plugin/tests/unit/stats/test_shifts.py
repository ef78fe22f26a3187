"""`find_shifts`: a change between two runs is proven or it is not, overall and by category."""

from pytest_jarvis.stats.regression import find_shifts


def test_a_shift_is_proven_only_where_its_corrected_interval_leaves_zero_out() -> None:
    scopes = {
        "": ([[0.1, 0.2, 0.1]] * 4, [[0.5, 0.6, 0.5]] * 4),
        "a": ([[0.5, 0.6, 0.5]] * 2, [[0.1, 0.2, 0.1]] * 2),
        "b": ([[0.1, 0.9, 0.5]] * 2, [[0.2, 0.9, 0.5]] * 2),
        "c": ([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2),
        "d": ([[0.5]], [[0.6]]),
    }
    shifts = {one.category: one for one in find_shifts(scopes)}
    assert {"": "rise", "a": "drop", "b": None, "c": None, "d": None} == {
        name: one.proven for name, one in shifts.items()
    }
    assert shifts["d"].corrected is None
    for one in shifts.values():
        if one.corrected is not None and one.difference.standard_error:
            assert (one.proven is None) == (one.corrected[0] <= 0 <= one.corrected[1])
