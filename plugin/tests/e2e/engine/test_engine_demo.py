"""The embedded pair through the engine: in four bits, without network, its texts the same in any company."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_jarvis.demo import DISPLAY_NAME
from pytest_jarvis.engines.transformers.generation import runner
from pytest_jarvis.engines.transformers.lora.arms import select_arms
from pytest_jarvis.types import EngineError, GenerationSettings, Progress, Request, Storage

TEXTS = [
    "ouvre chrome",
    "monte le son",
    "quelle heure est-il ?",
    "ferme toutes les fenêtres et éteins l'ordinateur",
    "bonjour",
]
SETTINGS = GenerationSettings(max_new_tokens=24, timeout_s=None)


@pytest.fixture(scope="module")
def demo(load_engine) -> Iterator[Any]:
    engine = load_engine("demo", ("jarvis", Path("demo:jarvis")), settings=SETTINGS)
    yield engine
    engine.close()


def requests(count: int = 5, *, arms: tuple[str, ...] = ("base", "jarvis"), replicates: int = 3) -> list[Request]:
    return [
        Request(prompt_id=f"d{place}", text=text, arm=arm, replicate=replicate)
        for place, text in enumerate(TEXTS[:count])
        for arm in arms
        for replicate in range(replicates)
    ]


def test_the_demo_says_that_it_is_one_and_is_in_four_bits(demo) -> None:
    described = demo.describe()
    assert (DISPLAY_NAME, True, Storage(format="nf4"), "mixed") == (
        described.display_name,
        described.is_demo,
        described.coverage.storage,
        described.batching,
    )
    assert described.coverage.share_4bit == 1.0
    assert described.adapters[0].base_unchanged
    assert described.adapters[0].live


def test_a_text_is_the_same_when_rows_that_are_done_leave_their_batch(demo, monkeypatch) -> None:
    sizes: list[int] = []

    def counted(model: Any, arms: list[str]) -> Any:
        sizes.append(len(arms))
        return select_arms(model, arms)

    monkeypatch.setattr(runner, "select_arms", counted)
    asked = requests(replicates=7)
    seen: list[Progress] = []
    fewer = list(demo.generate(asked, seen.append))
    shrinking = sizes.copy()
    monkeypatch.setattr(demo._runner, "_shrinks", False)
    whole = list(demo.generate(asked))
    assert {answer.key: (answer.text, answer.new_tokens, answer.finish_reason) for answer in whole} == {
        answer.key: (answer.text, answer.new_tokens, answer.finish_reason) for answer in fewer
    }
    assert (70, True) == (shrinking[0], len(shrinking) > 1)
    assert sorted(shrinking, reverse=True) == shrinking
    assert [70] == sizes[len(shrinking) :]
    assert sorted(one.tokens for one in seen) == [one.tokens for one in seen]


def test_an_unknown_adapter_of_the_demo_is_refused(load_engine) -> None:
    with pytest.raises(
        EngineError, match="adapter 'x': there is no embedded adapter 'autre'; known: demo:jarvis, demo:faible"
    ):
        load_engine("demo", ("x", Path("demo:autre")))


OFFLINE = """
import gc, socket, sys
def refused(*_, **__):
    raise AssertionError("a connection was opened")
socket.socket.connect = refused
socket.create_connection = refused
socket.getaddrinfo = refused
from pytest_jarvis.engines.transformers.engine import TransformersEngine
from pytest_jarvis.types import AdapterSpec, GenerationSettings, ModelSpec, Request
assert "torch" not in sys.modules
adapter = AdapterSpec(name="jarvis", source="demo:jarvis")
engine = TransformersEngine(ModelSpec(adapters=(adapter,)), GenerationSettings(max_new_tokens=4))
request = Request(prompt_id="p", text="ouvre chrome", arm="jarvis", replicate=0)
print(len(list(engine.generate([request]))), "answer", "collecting" if gc.isenabled() else "not collecting")
"""


def test_the_demo_loads_and_answers_without_a_connection_a_bar_or_a_warning() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    command = [sys.executable, "-W", "error", "-c", OFFLINE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ("1 answer collecting\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize(("level", "bars"), [("error", False), ("info", True)])
def test_what_the_libraries_may_say_while_they_load_is_as_configured(level: str, bars: bool) -> None:
    import logging

    from transformers.utils import logging as transformers_logging

    from pytest_jarvis.engines.transformers.loading.base import quiet_libraries

    before = transformers_logging.get_verbosity()
    transformers_logging.enable_progress_bar()
    with quiet_libraries(level):
        assert transformers_logging.get_verbosity() == getattr(logging, level.upper())
        assert transformers_logging.is_progress_bar_enabled() == bars
    assert transformers_logging.get_verbosity() == before
