"""The flat keys of `report.json`: those that readers know are still written, and read back."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pytest_jarvis.metrics.registry import BUILT_IN
from pytest_jarvis.report.io import encode_report, load_report, nest_row
from pytest_jarvis.types import GenerationSettings, ModelSpec

OLD = Path(__file__).parents[2] / "data" / "report_of_schema_1.json"
"""Written before metrics had a registry."""
CODES = {
    *("/schema_version", "/metadata/base_model_label", "/metadata/quantization", "/failures/#/reason"),
    *("/provenance/notes/#", "/provenance/engine/notes/#", "/provenance/engine/coverage/label"),
}
"""Where schema 2 has codes instead of words."""


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """Return where a document lacks, or differs in, what another holds; null and absent are the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [where for key, value in before.items() for where in lost(value, after.get(key), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [where for one, other in zip(before, after, strict=True) for where in lost(one, other, f"{path}/#")]
    return [] if before == after else [path]


def test_a_report_of_before_is_written_again_with_every_key_and_value_it_had() -> None:
    before = json.loads(OLD.read_bytes())
    read = load_report(OLD)
    # Only a part of its prompts was kept, so that its verdict is withdrawn.
    assert read.is_altered
    found = {path for path in lost(before, json.loads(encode_report(read))) if not path.startswith("/gate/")}
    # `keyword_match` was a share, `keyword_share` now; clean commands are generated no more.
    found = {path for path in found if "keyword_match" not in path and "clean_" not in path}
    assert {path for path in CODES if not path.startswith("/gate/")} == found


def test_a_report_is_read_back_as_it_was(make_report, tmp_path) -> None:
    report = make_report(failing=[(0, "jarvis")])
    path = tmp_path / "report.json"
    path.write_bytes(encode_report(report))
    assert report == load_report(path)


def test_the_model_of_a_server_keeps_its_keys_and_is_read_back(make_report, tmp_path) -> None:
    report = make_report()
    made = replace(
        report.provenance,
        model=ModelSpec(base_model_id="m", base_url="http://h/v1", concurrency=4, embedding_model="e"),
        generation=GenerationSettings(batch_size=8),
    )
    path = tmp_path / "report.json"
    path.write_bytes(encode_report(replace(report, provenance=made)))
    assert load_report(path).provenance == made
    written = json.loads(path.read_bytes())["provenance"]
    assert "batch_size" not in written["generation"]
    expected = {
        "base_model": "m",
        "adapters": [],
        "quantization": None,
        "batch_size": 8,
        "server": {
            "base_url": "http://h/v1",
            "concurrency": 4,
            "retries": 3,
            "embedding_model": "e",
            "embedding_url": None,
        },
    }
    assert expected.items() <= written["model"].items()


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_metric_has_its_averages(make_report, name: str) -> None:
    statistics = json.loads(encode_report(make_report()))["statistics"]
    key = {"jarvis_relevance": "relevance", "characters": "chars"}.get(name, name)
    pair = BUILT_IN[name].spec.per == "pair"
    assert statistics.keys() >= ({f"avg_{key}"} if pair else {f"avg_{key}_base", f"avg_{key}_finetuned"})


def test_a_choice_of_a_tool_that_only_has_its_reason_is_scored_by_it() -> None:
    samples = [{"arm": "base", "routing": {"reason": reason}} for reason in ("right_tool", "wrong_tool")]
    row = nest_row({"prompt_id": "p", "samples": samples})
    assert [{"tool_routing": 1.0}, {"tool_routing": 0.0}] == [sample["scores"] for sample in row["samples"]]
    assert {} == row["figures"]
