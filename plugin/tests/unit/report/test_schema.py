"""`report.schema`: averages over rows, folders for runs, and files that are whole or not there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from samples import row, sample

from pytest_jarvis import files
from pytest_jarvis.files import InputError, make_run_folder, write_atomically
from pytest_jarvis.report.schema import (
    Averages,
    CategoryAverages,
    FailureRow,
    Figure,
    Report,
    ResultRow,
    Sample,
    category_averages,
    make_averages,
    timestamp,
)
from pytest_jarvis.types import Category, text_note

PLAIN = {"cosine_similarity": (None, 0.5), "keyword_share": (0.25, 0.75), "jarvis_relevance": (0.2, 0.5)}


def measured(prompt_id: str = "p", *, samples: tuple[Sample, ...] | None = None, **changes: Any) -> ResultRow:
    """Return a row of a pair with plain figures, some of them changed, by (base, finetuned)."""
    figures = PLAIN | {name: changes.pop(name) for name in PLAIN if name in changes}
    return row(prompt_id, *(samples or (sample("base"), sample("lora"))), figures=figures, **changes)


UNMEASURED = measured("q", samples=(sample("base"),), keyword_share=(0.25, None), jarvis_relevance=(0.2, None))


def test_the_averages_are_means_over_prompts() -> None:
    other = measured("q", jarvis_relevance=(0.4, 0.7), keyword_share=(0.75, 0.75))
    averages = make_averages([measured(), other], 2, 0)
    relevance = averages.figure("jarvis_relevance")
    assert (relevance.base, relevance.finetuned) == pytest.approx((0.3, 0.6))
    assert averages.figure("keyword_share") == Figure(base=0.5, finetuned=0.75)


def test_the_gain_is_the_ratio_of_the_means() -> None:
    other = measured("q", jarvis_relevance=(0.4, 0.7))
    assert make_averages([measured(), other], 2, 0).relevance_gain == pytest.approx(1.0)


@pytest.mark.parametrize("base", [0.0, None])
def test_there_is_no_gain_over_nothing(base: float | None) -> None:
    assert make_averages([measured(jarvis_relevance=(base, 0.5))], 1, 0).relevance_gain is None


def test_there_is_no_gain_without_a_score_of_the_adapter() -> None:
    assert make_averages([measured(jarvis_relevance=(0.2, None))], 1, 0).relevance_gain is None


def test_a_prompt_that_lacks_an_arm_is_planned_and_not_averaged() -> None:
    averages = make_averages([measured(), UNMEASURED], 3, 4)
    assert (averages.total_tests, averages.planned_tests, averages.failed_responses) == (1, 3, 4)
    assert averages.figure("jarvis_relevance").base == 0.2


def test_responses_of_both_arms_that_share_no_replicate_are_no_pair() -> None:
    assert not measured(samples=(sample("base", 0), sample("lora", 1))).measured
    assert measured(samples=(sample("base", 1), sample("lora", 1))).measured


def test_an_average_is_over_the_prompts_that_have_the_value() -> None:
    averages = make_averages([measured(), measured("q", cosine_similarity=(None, None))], 2, 0)
    assert averages.figure("cosine_similarity").finetuned == 0.5


def test_nothing_measured_has_no_average() -> None:
    nothing = Averages(total_tests=0, planned_tests=1, failed_responses=8, figures={})
    assert (nothing, None) == (make_averages([UNMEASURED], 1, 8), nothing.relevance_gain)


def test_seconds_and_characters_are_those_of_each_arm_by_prompt() -> None:
    first = measured(samples=(sample("base", 0, seconds=1), sample("base", 1, seconds=3), sample("lora", text="abc")))
    second = measured("q", samples=(sample("base", seconds=4), sample("lora", text="abcde", seconds=7)))
    averages = make_averages([first, second], 2, 0)
    assert averages.figure("seconds") == Figure(base=3.0, finetuned=4.0)
    assert averages.figure("characters") == Figure(base=5.0, finetuned=4.0)


def test_a_report_gives_the_rows_of_an_adapter_in_their_order() -> None:
    rows = (measured("a"), measured("a", adapter="autre"), measured("b"), measured("b", adapter="autre"))
    found = Report.of_adapter(SimpleNamespace(results=rows), "autre")  # type: ignore[arg-type]
    assert found == (rows[1], rows[3])


def test_each_planned_category_has_its_averages_in_the_order_of_the_files() -> None:
    categories = [
        Category(name=name, label=name.upper(), description="", cases=()) for name in ("b", "a", "unplanned", "zero")
    ]
    rows = [measured(category="a"), measured("q", category="b", jarvis_relevance=(0.4, 0.5))]
    failures = [
        FailureRow(prompt_id="q", category="b", arm="base", replicate=0, stage="generate", reason=text_note(""))
    ]
    found = category_averages(categories, {"a": 2, "b": 1, "zero": 0}, rows, failures)
    assert list(found.items()) == [
        ("b", CategoryAverages(label="B", averages=make_averages(rows[1:], 1, 1))),
        ("a", CategoryAverages(label="A", averages=make_averages(rows[:1], 2, 0))),
    ]


def test_a_timestamp_is_in_utc_to_the_second() -> None:
    read = datetime.fromisoformat(timestamp())
    assert (read.tzinfo, read.microsecond) == (UTC, 0)


@pytest.fixture
def at_noon(monkeypatch) -> None:
    """Stop the clock of the folders."""

    class Noon(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Noon:
            return cls(2025, 1, 2, 12, 0, 0, tzinfo=tz)

    monkeypatch.setattr(files, "datetime", Noon)


@pytest.mark.usefixtures("at_noon")
def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path) -> None:
    made = [make_run_folder(tmp_path / "reports").name for _ in range(3)]
    assert made == ["20250102-120000", "20250102-120000-2", "20250102-120000-3"]
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == made


@pytest.mark.usefixtures("at_noon")
def test_a_thousand_runs_of_the_same_second_are_refused(tmp_path, monkeypatch) -> None:
    def taken(path: Path, **_: object) -> None:
        raise FileExistsError(path)

    monkeypatch.setattr(Path, "mkdir", taken)
    with pytest.raises(InputError, match="no free name for a new run after 20250102-120000-999"):
        make_run_folder(tmp_path)


def test_a_folder_of_reports_that_is_a_file_is_refused_in_a_sentence(tmp_path) -> None:
    (tmp_path / "reports").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="reports: a folder for the run cannot be made: Not a directory"):
        make_run_folder(tmp_path / "reports")


def test_a_file_is_written_whole_and_alone(tmp_path) -> None:
    write_atomically(tmp_path / "a.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"new")]


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_its_name_is_before_the_end(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.json"
    on_disk: list[tuple[str, bool]] = []

    def remember(descriptor: int) -> None:
        status = os.fstat(descriptor)
        what = "names" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes"
        on_disk.append((what, path.exists()))

    monkeypatch.setattr(os, "fsync", remember)
    write_atomically(path, b"new")
    assert [("3 bytes", False), ("names", True)] == on_disk


def test_a_folder_whose_names_cannot_be_put_on_the_disk_is_no_error(tmp_path, monkeypatch) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    write_atomically(tmp_path / "a.json", b"new")
    assert b"new" == (tmp_path / "a.json").read_bytes()


def fail_to_sync(descriptor: int) -> None:
    """Fail when what was written should reach the disk, as one that is full."""
    raise OSError(f"no space left for {descriptor}")


def fail_to_replace(path: Path, target: Path) -> Path:
    """Fail to take the other's name."""
    raise OSError("no right")


@pytest.mark.parametrize(
    ("owner", "method", "failing"), [(os, "fsync", fail_to_sync), (Path, "replace", fail_to_replace)]
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, owner: object, method: str, failing: Callable[..., object]
) -> None:
    (tmp_path / "a.json").write_bytes(b"old")
    monkeypatch.setattr(owner, method, failing)
    with pytest.raises(OSError, match="no "):
        write_atomically(tmp_path / "a.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"old")]
