"""What pytest-xdist's controller shares out, and what it makes of what workers tell."""

import os
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import msgspec
import pytest

from pytest_jarvis.engines import find_engine
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.plugin import xdist
from pytest_jarvis.plugin.collection import DEVICE_KEY, pin_device, worker_count
from pytest_jarvis.plugin.xdist import Controller, WorkerNotes, merged_facts, refuse_more_workers_than_devices
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


@pytest.mark.parametrize(
    ("count", "devices", "said"),
    [(2, 0, "no GPU is visible; run without -n"), (4, 2, "2 GPUs are visible; run with -n 2, without -n")],
)
def test_more_workers_than_devices_are_told_what_to_do(count: int, devices: int, said: str) -> None:
    with pytest.raises(pytest.UsageError, match=said):
        refuse_more_workers_than_devices(count, devices)


def test_as_many_workers_as_devices_are_let_through() -> None:
    refuse_more_workers_than_devices(2, 2)


def test_a_worker_sees_only_the_device_it_was_given(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    pin_device(SimpleNamespace(workerinput={DEVICE_KEY: "1"}))  # type: ignore[arg-type]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_process_that_was_given_none_sees_what_it_saw(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    pin_device(SimpleNamespace())  # type: ignore[arg-type]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SimpleNamespace(option=SimpleNamespace()), 1),
        (SimpleNamespace(option=SimpleNamespace(dist="no", tx=[])), 1),
        (SimpleNamespace(option=SimpleNamespace(dist="load", tx=["popen", "popen"])), 2),
        (SimpleNamespace(option=SimpleNamespace(dist="load", tx=["3*popen", "ssh=a*b"])), 4),
        (SimpleNamespace(workerinput={"workercount": 5}), 5),
    ],
)
def test_processes_are_counted(config: SimpleNamespace, expected: int) -> None:
    assert expected == worker_count(config)  # type: ignore[arg-type]


def test_tests_of_one_group_have_one_name_and_others_their_own(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=2, devices=0)
    ids = [*(f"t.py::t[{case.category}-{case.prompt_id}]" for case in CASES), "t.py::other"]
    control.pytest_xdist_node_collection_finished(ids)
    assert [control.group_of(nodeid) for nodeid in ids] == ["a/1", "a/1", "b/1", "b/1", "t.py::other"]
    assert control.planned == CASES


def test_the_facts_of_workers_become_those_of_one_run() -> None:
    other = replace(FACTS, mismatched_cosine=0.4, timings_s={"load": 2.0, "generate": 1.0, "embed": 1.0})
    merged = merged_facts([FACTS, other])
    assert merged is not None
    assert merged.mismatched_cosine == pytest.approx(0.3)
    assert merged.timings_s == {"load": 3.0, "generate": 6.0, "embed": 1.0}


def test_without_a_worker_that_loaded_there_are_no_facts() -> None:
    assert merged_facts([]) is None


def test_what_a_worker_said_with_its_first_record_stands_when_it_dies(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=2, devices=0)
    control.hear(WorkerNotes(facts=FACTS, error=None))
    control.pytest_testnodedown(Node("gw0"))
    assert control.facts() == FACTS


def test_the_error_of_any_worker_is_the_sessions(monkeypatch) -> None:
    control = controller(monkeypatch, engine="scripted", count=2, devices=0)
    for name, error in (("gw0", None), ("gw1", "no model")):
        notes = WorkerNotes(facts=FACTS, error=error)
        control.pytest_testnodedown(Node(name, workeroutput={"jarvis": msgspec.to_builtins(notes)}))
    assert control.error == "no model"
