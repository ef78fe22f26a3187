"""`store`: responses on disk by all that determines them, what is held, and how it is made smaller."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from pytest_jarvis.engines.base import determining
from pytest_jarvis.run.store import Names, ResponseStore, response_key, vector_key
from pytest_jarvis.types import GenerationSettings, Identity, Request, Response, Tool, ToolCall

IDENTITY = Identity(
    engine="transformers 0.1.0",
    base="sha256:0123456789abcdef",
    adapter="fedcba9876543210",
    storage="NF4, 1.0",
    arithmetic="float32 on cpu",
    template="raw",
    prompt="ouvre chrome",
    prompt_id="c-1",
    replicate=0,
    seed=0,
    settings={"temperature": 0.7, "system_prompt": None},
    versions={"torch": "2.9.0"},
)
RESPONSE = Response(
    prompt_id="c-1",
    arm="jarvis",
    replicate=0,
    text="J'ouvre « Chrome »\u202f!\n\0fin",
    thinking="Il veut Chrome.",
    finish_reason="stop",
    prompt_tokens=12,
    new_tokens=7,
    duration_s=1.25,
    first_token_s=0.5,
    cut_chars=3,
    tool_calls=(ToolCall(name="open_app_tool", arguments={"app": "chrome"}),),
)
RESPONSE_OF_ANOTHER_KIND = msgspec.json.encode({**msgspec.to_builtins(RESPONSE), "finish_reason": "bored"})
NAMES = Names(base="demo", adapter="jarvis (demo:jarvis)")
REQUEST = Request(prompt_id="c-1", text="ouvre chrome", arm="jarvis", replicate=0)


def numbered(number: int) -> Identity:
    return replace(IDENTITY, prompt_id=f"c-{number}")


def fill(store: ResponseStore, count: int, text: str = "d'accord") -> None:
    for number in range(count):
        store.add(numbered(number), replace(RESPONSE, text=f"{text} {number}"), NAMES)


def held(store: ResponseStore, *identities: Identity) -> list[str]:
    found = store.find({response_key(one): REQUEST for one in identities})
    return [response.text for response in found.values()]


def test_a_response_comes_back_as_it_was(opened: ResponseStore) -> None:
    opened.add(IDENTITY, RESPONSE, NAMES)
    assert opened.find({response_key(IDENTITY): REQUEST}) == {response_key(IDENTITY): RESPONSE}


def test_a_response_comes_back_as_the_answer_to_who_asks_now(opened: ResponseStore) -> None:
    opened.add(IDENTITY, RESPONSE, NAMES)
    found = opened.find({response_key(IDENTITY): replace(REQUEST, arm="v2")})
    assert [response.arm for response in found.values()] == ["v2"]


def test_what_was_never_written_is_not_found(opened: ResponseStore) -> None:
    opened.add(IDENTITY, RESPONSE, NAMES)
    assert held(opened, numbered(9)) == []


def test_the_latest_response_of_a_key_stands(opened: ResponseStore) -> None:
    for text in ("first", "second"):
        opened.add(IDENTITY, replace(RESPONSE, text=text), NAMES)
    assert held(opened, IDENTITY) == ["second"]


def test_a_response_whose_prompt_was_not_counted_comes_back(opened: ResponseStore) -> None:
    uncounted = replace(RESPONSE, prompt_tokens=None, thinking=None, tool_calls=None)
    opened.add(IDENTITY, uncounted, NAMES)
    assert opened.find({response_key(IDENTITY): REQUEST}) == {response_key(IDENTITY): uncounted}


@pytest.mark.parametrize("name", [field.name for field in fields(GenerationSettings)])
def test_settings_of_any_kind_are_part_of_a_key(name: str) -> None:
    tool = Tool(name="a", description="", parameters={"type": "object"}, terms=("a",))
    others = {"tools": (tool,), "system_prompt": "Sois bref.", "template": "raw", "do_sample": False}
    other = others.get(name, 17)
    settings = replace(GenerationSettings(), **{name: other})
    one, two = (replace(IDENTITY, settings=determining(known)) for known in (GenerationSettings(), settings))
    assert (response_key(one) == response_key(two)) == (name in {"seed", "timeout_s"})


def test_many_responses_are_found_at_once(opened: ResponseStore) -> None:
    fill(opened, 1001)
    assert len(held(opened, *map(numbered, range(1001)))) == 1001


OTHERS: dict[str, object] = {
    "settings": {"temperature": 0.8, "system_prompt": None},
    "versions": {"torch": "2.10.0"},
    "replicate": 1,
    "seed": 1,
    "adapter": None,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Identity)])
def test_whatever_differs_in_an_identity_gives_another_key(name: str) -> None:
    other = replace(IDENTITY, **{name: OTHERS.get(name, "other")})
    assert response_key(IDENTITY) != response_key(other)


def test_a_key_does_not_hang_on_the_order_of_names() -> None:
    turned = replace(IDENTITY, settings={"system_prompt": None, "temperature": 0.7})
    assert response_key(IDENTITY) == response_key(turned)


def test_a_key_does_not_hang_on_the_kind_of_a_mapping() -> None:
    assert response_key(IDENTITY) == response_key(replace(IDENTITY, versions=MappingProxyType(dict(IDENTITY.versions))))


def test_values_cannot_slip_from_one_field_into_the_next() -> None:
    one, other = (
        replace(IDENTITY, prompt='a","prompt_id":"b', prompt_id="c"),
        replace(IDENTITY, prompt="a", prompt_id='b","c'),
    )
    assert response_key(one) != response_key(other)


def test_a_key_is_the_same_in_every_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_store; "
        "print(test_store.response_key(test_store.IDENTITY))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        check=True,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert response_key(IDENTITY) == said.stdout.strip()


@pytest.mark.parametrize("name", ["adapter", "prompt", "prompt_id", "seed", "settings", "template"])
def test_a_vector_does_not_hang_on_who_said_the_text(name: str) -> None:
    other = replace(IDENTITY, **{name: OTHERS.get(name, "other")})
    assert vector_key(IDENTITY, "d'accord") == vector_key(other, "d'accord")


@pytest.mark.parametrize("name", ["engine", "base", "storage", "arithmetic", "versions"])
def test_a_vector_hangs_on_what_made_it(name: str) -> None:
    other = replace(IDENTITY, **{name: OTHERS.get(name, "other")})
    assert vector_key(IDENTITY, "d'accord") != vector_key(other, "d'accord")
    assert vector_key(IDENTITY, "d'accord") != vector_key(IDENTITY, "d'accord.")


def test_vectors_come_back_to_the_last_bit(opened: ResponseStore) -> None:
    opened.add_vectors({"a": b"\0\1\2\3", "b": None})
    assert opened.find_vectors(["a", "b", "c"]) == {"a": b"\0\1\2\3", "b": None}


def test_a_store_opened_again_holds_what_was_written(path: Path) -> None:
    for number in range(2):
        with closing(ResponseStore(path)) as store:
            store.add(numbered(number), RESPONSE, NAMES)
    with closing(ResponseStore(path)) as store:
        assert len(held(store, numbered(0), numbered(1))) == 2


@pytest.mark.parametrize("said", [b"{}", b"[", 7, RESPONSE_OF_ANOTHER_KIND])
def test_a_value_that_is_no_response_is_damage(opened: ResponseStore, said: object) -> None:
    opened.add(IDENTITY, RESPONSE, NAMES)
    opened._connection.execute("UPDATE responses SET response = ?", (said,))
    with pytest.raises(sqlite3.DatabaseError, match="a response is not one"):
        held(opened, IDENTITY)


def test_the_statistics_count_by_base_and_adapter(opened: ResponseStore) -> None:
    before = time.time()
    base = replace(IDENTITY, adapter=None)
    for number in range(3):
        opened.add(replace(base, replicate=number), RESPONSE, Names(base="demo", adapter=None))
    opened.add(IDENTITY, RESPONSE, NAMES)
    opened.add(replace(IDENTITY, base="sha256:other"), RESPONSE, replace(NAMES, base="autre"))
    opened.add_vectors({"a": b"1234"})
    stats = opened.stats()
    assert (stats.responses, stats.vectors) == (5, 1)
    assert [(one.name, one.digest, one.responses) for one in stats.bases] == [
        ("demo", "sha256:0123456789abcdef", 3),
        ("autre", "sha256:other", 0),
    ]
    assert [(one.name, one.responses) for one in stats.adapters] == [("jarvis (demo:jarvis)", 2)]
    assert stats.size_bytes >= opened.path.stat().st_size
    assert stats.oldest is not None
    assert stats.newest is not None
    assert before <= stats.oldest <= stats.newest <= time.time()


def test_an_empty_store_has_no_oldest_response(opened: ResponseStore) -> None:
    stats = opened.stats()
    assert (stats.responses, stats.bases, stats.oldest, stats.newest) == (0, (), None, None)


def test_an_arm_has_the_name_of_its_last_run(opened: ResponseStore) -> None:
    for adapter in ("v1 (a)", "v2 (b)"):
        opened.add(IDENTITY, RESPONSE, Names(base="demo", adapter=adapter))
    assert [one.name for one in opened.stats().adapters] == ["v2 (b)"]


def age(store: ResponseStore, number: int, days: float) -> None:
    store._connection.execute(
        "UPDATE responses SET written_at = ? WHERE prompt_id = ?", (time.time() - days * 86_400, f"c-{number}")
    )


def test_pruning_by_age_deletes_what_is_older(opened: ResponseStore) -> None:
    fill(opened, 3)
    age(opened, 0, 40)
    age(opened, 1, 20)
    assert opened.prune(older_than_s=30 * 86_400) == 1
    assert held(opened, *map(numbered, range(3))) == ["d'accord 1", "d'accord 2"]


def test_pruning_deletes_what_only_the_deleted_needed(opened: ResponseStore) -> None:
    other = replace(numbered(0), base="sha256:other")
    opened.add(other, RESPONSE, NAMES)
    opened.add(numbered(1), RESPONSE, NAMES)
    opened.add_vectors({vector_key(other, RESPONSE.text): b"1234", vector_key(IDENTITY, RESPONSE.text): b"5678"})
    age(opened, 0, 2)
    opened.prune(older_than_s=86_400)
    stats = opened.stats()
    assert (stats.responses, stats.vectors, [one.digest for one in stats.bases]) == (1, 1, ["sha256:0123456789abcdef"])


def test_pruning_by_size_keeps_the_newest_and_shrinks_the_file(opened: ResponseStore) -> None:
    fill(opened, 600, text="un texte assez long " * 20)
    for number in range(600):
        age(opened, number, 600 - number)
    opened._shrink()
    before = opened.path.stat().st_size
    removed = opened.prune(max_bytes=before // 2)
    stats = opened.stats()
    assert 0 < removed < 600
    assert stats.responses == 600 - removed
    assert before // 4 < stats.size_bytes <= before // 2
    assert len(held(opened, *map(numbered, range(removed, 600)))) == 600 - removed


def test_pruning_to_less_than_an_empty_store_deletes_all(opened: ResponseStore) -> None:
    fill(opened, 20)
    assert opened.prune(max_bytes=1) == 20


def test_clearing_deletes_all_and_the_store_can_be_used_further(opened: ResponseStore) -> None:
    fill(opened, 20)
    assert opened.clear() == 20
    assert opened.stats().responses == 0
    fill(opened, 1)
    assert opened.stats().responses == 1
