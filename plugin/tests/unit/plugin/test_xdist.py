"""What pytest-xdist's controller shares out, and what it makes of what workers tell."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import msgspec
import pytest

from pytest_jarvis.engines import find_engine
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.plugin import xdist
from pytest_jarvis.plugin.workers import DEVICE_KEY
from pytest_jarvis.plugin.xdist import Controller, WorkerNotes, merge_facts
from pytest_jarvis.run.runner import RunFacts
from pytest_jarvis.types import GenerationSettings, ModelSpec, PromptCase

CASES = tuple(
    PromptCase(prompt_id=f"{category}-{number}", category=category, text="", keywords=())
    for category in "ab"
    for number in range(2)
)
FACTS = RunFacts(
    engine=ScriptedEngine(ModelSpec(), GenerationSettings()).describe(),
    samples_per_prompt=8,
    decisions={},
    mismatched_cosine=0.2,
    timings_s={"load": 3.0, "generate": 5.0},
)


@dataclass
class Node:
    """A worker as the controller sees it."""

    name: str
    workerinput: dict[str, object] = field(default_factory=dict)
    workeroutput: dict[str, object] = field(default_factory=dict)

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.name)


def controller(monkeypatch: pytest.MonkeyPatch, *, engine: str, count: int, devices: int) -> Controller:
    """Return the controller of so many workers on a machine with so many devices."""
    monkeypatch.setattr(xdist, "count_devices", lambda: devices)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    benchmark = SimpleNamespace(settings=SimpleNamespace(kind=find_engine(engine), adapters=()), cases=CASES)
    return Controller(benchmark, count)  # type: ignore[arg-type]  # what of a benchmark a controller asks


def given(control: Controller, name: str) -> object:
    """Return the device that a new worker gets."""
    node = Node(name)
    control.pytest_configure_node(node)
    return node.workerinput.get(DEVICE_KEY)


def test_each_worker_has_a_device_of_its_own(monkeypatch) -> None:
    control = controller(monkeypatch, engine="transformers", count=2, devices=3)
    assert [given(control, name) for name in ("gw0", "gw1")] == ["0", "1"]


def test_the_worker_that_replaces_a_dead_one_has_its_device(monkeypatch) -> None:
    control = controller(monkeypatch, engine="transformers", count=2, devices=2)
    assert [given(control, name) for name in ("gw0", "gw1")] == ["0", "1"]
    control.pytest_testnodedown(Node("gw0"))
    assert given(control, "gw2") == "0"


def test_an_engine_without_a_model_takes_any_number_of_workers(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=50, devices=0)
    assert given(control, "gw0") is None


def test_tests_of_one_group_have_one_name_and_others_their_own(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=2, devices=0)
    ids = [*(f"t.py::t[{case.category}-{case.prompt_id}]" for case in CASES), "t.py::other"]
    control.pytest_xdist_node_collection_finished(ids)
    assert [control.group_of(nodeid) for nodeid in ids] == ["a/1", "a/1", "b/1", "b/1", "t.py::other"]
    assert control.planned == CASES


def test_the_facts_of_workers_become_those_of_one_run() -> None:
    other = replace(FACTS, mismatched_cosine=0.4, timings_s={"load": 2.0, "generate": 1.0, "embed": 1.0})
    merged = merge_facts([FACTS, other])
    assert merged is not None
    assert merged.mismatched_cosine == pytest.approx(0.3)
    assert merged.timings_s == {"load": 3.0, "generate": 6.0, "embed": 1.0}


def test_without_a_worker_that_loaded_there_are_no_facts() -> None:
    assert merge_facts([]) is None


def test_what_a_worker_said_with_its_first_record_stands_when_it_dies(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=2, devices=0)
    control.early_notes = WorkerNotes(facts=FACTS, error=None)
    control.pytest_testnodedown(Node("gw0"))
    assert control.facts() == FACTS


def test_the_error_of_any_worker_is_the_sessions(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=2, devices=0)
    for name, error in (("gw0", None), ("gw1", "no model")):
        notes = WorkerNotes(facts=FACTS, error=error)
        control.pytest_testnodedown(Node(name, workeroutput={"jarvis": msgspec.to_builtins(notes)}))
    assert control.error == "no model"
