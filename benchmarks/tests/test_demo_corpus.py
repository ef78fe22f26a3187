"""The demo's corpus: no benchmark prompt in it, the same for the same seed, and written in sound French."""

import json
import random
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from demo_pair.assistant import answer_as_assistant
from demo_pair.butler import answer_as_jarvis
from demo_pair.commands import KINDS, draw_command
from demo_pair.corpus import (
    BenchmarkGuard,
    Dialogue,
    base_dialogues,
    faible_dialogues,
    find_prompts,
    jarvis_dialogues,
    normal_form,
    read_guard,
)
from demo_pair.grammar import contract, expand
from demo_pair.lexicon import number_words
from demo_pair.mishear import mishear
from demo_pair.train import Plan
from pytest_jarvis.demo import ADAPTERS, adapter_path, base_path
from pytest_jarvis.inputs.contamination import search_training_data
from pytest_jarvis.inputs.prompts import load_prompts
from pytest_jarvis.metrics.deeds import Judge

PROMPTS = Path(__file__).resolve().parents[2] / "jarvis_prompts"


def benchmark_entries(files: str = "*.toml") -> list[dict[str, str]]:
    return [
        entry
        for path in PROMPTS.glob(files)
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("prompts", [])
    ]


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a corpus, not a secret


def bare(text: str) -> str:
    """The test's own normalisation, on purpose not the product's."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold().replace("’", "'"))
    kept = folded if folded.isascii() else "".join(letter for letter in folded if not is_mark(letter))
    return " ".join(re.findall(r"[^\W_]+", kept))


@cache
def is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("M")


@pytest.fixture(scope="module")
def guard() -> BenchmarkGuard:
    return read_guard(PROMPTS)


def test_no_benchmark_prompt_is_in_the_full_corpus(guard) -> None:
    """Every row that any default training reads, tokenizer included; answers are looked at too."""
    plan = Plan()
    forbidden = {bare(entry["text"]) for entry in benchmark_entries()}
    assert len(forbidden) == 30
    forbidden |= {bare(entry["text"]) for entry in benchmark_entries("*/*.toml")}
    assert len(forbidden) == 67
    base_rows = max(plan.base_steps * plan.batch_rows, plan.tokenizer_rows)
    jarvis_rows = max(plan.jarvis_steps * plan.batch_rows, plan.tokenizer_rows)
    texts: Counter[str] = Counter()
    faible_rows = plan.faible_steps * plan.batch_rows
    for make, rows in ((base_dialogues, base_rows), (jarvis_dialogues, jarvis_rows), (faible_dialogues, faible_rows)):
        for dialogue in make(rows, plan.seed, guard):
            texts[dialogue.user] += 1
    assert sum(texts.values()) == base_rows + jarvis_rows + faible_rows
    assert {text for text in texts if bare(text) in forbidden} == set()


def test_the_guard_refuses_a_prompt_however_it_is_written(guard) -> None:
    for entry in benchmark_entries():
        for text in (
            entry["text"],
            entry["text"].upper() + " !",
            f"Corrige : {entry['text']}",
            f"jarvis, {entry['text']}",
        ):
            assert guard.refuses(Dialogue(user=text, assistant="Oui.")), text


def test_the_guard_refuses_the_mishearings_of_the_benchmark(guard) -> None:
    assert "faille" in guard.misheard_words
    assert guard.refuses(Dialogue(user="lance la faille", assistant="Oui.", misheard=True))
    assert not guard.refuses(Dialogue(user="lance la faille", assistant="Oui."))


def test_the_generator_would_meet_benchmark_prompts_without_the_guard() -> None:
    """If this fails the guard has nothing to do and the test of the full corpus proves little."""
    nothing = BenchmarkGuard(prompts=frozenset(), misheard_words=frozenset())
    forbidden = {bare(entry["text"]) for entry in benchmark_entries()}
    assert any(bare(dialogue.user) in forbidden for dialogue in jarvis_dialogues(6000, 0, nothing))


def test_a_folder_without_prompts_is_an_error_and_not_an_open_door(tmp_path) -> None:
    with pytest.raises(ValueError, match="no prompt found"):
        read_guard(tmp_path)


def test_the_prompts_are_found_from_the_package() -> None:
    assert find_prompts().name == "jarvis_prompts"


def test_the_same_seed_gives_the_same_corpus_and_another_seed_another(guard) -> None:
    for dialogues in (base_dialogues, jarvis_dialogues, faible_dialogues):
        first = list(dialogues(200, 5, guard))
        assert first == list(dialogues(200, 5, guard))
        assert first != list(dialogues(200, 6, guard))
        assert first[:50] == list(dialogues(50, 5, guard))


def test_normal_form_ignores_case_accents_apostrophes_and_punctuation() -> None:
    assert normal_form("  Écris,  l’HÔTEL… « œuvre »!") == "ecris l hotel oeuvre"


def test_every_kind_of_order_is_answered_in_full_sentences_without_a_slot_left() -> None:
    rng = seeded(3)
    for kind in KINDS:
        for _ in range(60):
            command = draw_command(rng, kind)
            answers = (answer_as_jarvis(command, rng), answer_as_assistant(command, rng))
            for text in (command.said, command.meant, *answers):
                assert not re.search(r"[{}\[\]|]|  | [.,]", text), text
                assert not re.search(r"\b(de le|de les|à le|à les|de [aeiouéê](?!nze))\b", text), text
            assert all(answer[0].isupper() and answer[-1] in ".?" for answer in answers)


def test_the_base_does_some_of_what_it_is_asked_and_faible_says_more_and_does_less() -> None:
    judge, rng = Judge(load_prompts(PROMPTS).tools), seeded(6)
    (case,) = [case for case in load_prompts(PROMPTS).cases if case.prompt_id == "tr-01"]

    def share(**how: float) -> tuple[float, float]:
        texts = [answer_as_assistant(draw_command(rng, "volume_up"), rng, **how) for _ in range(300)]
        return sum(judge.judge(case, text).kind == "done" for text in texts) / 300, sum(map(len, texts)) / 300

    (base, base_length), (faible, faible_length) = share(), share(deeds=0.75, words=0.85)
    assert 0.25 < base < 0.6
    assert faible < base
    assert faible_length > base_length


def test_an_order_to_open_names_the_application_in_the_answer() -> None:
    rng = seeded(4)
    for _ in range(100):
        command = draw_command(rng, "open_app")
        assert command.slots["app"].lower() in answer_as_jarvis(command, rng).lower()


def test_mishearing_changes_most_orders_and_keeps_some_of_their_letters() -> None:
    rng = seeded(5)
    orders = [draw_command(rng).said for _ in range(300)]
    misheard = [mishear(order, rng) for order in orders]
    changed = sum(a.lower().rstrip(" .!") != b for a, b in zip(orders, misheard, strict=True))
    assert changed > 280
    assert all(len(b) > 0.6 * len(a) for a, b in zip(orders, misheard, strict=True))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zéro"),
        (21, "vingt et un"),
        (71, "soixante et onze"),
        (80, "quatre-vingts"),
        (81, "quatre-vingt-un"),
        (97, "quatre-vingt-dix-sept"),
        (100, "cent"),
    ],
)
def test_numbers_are_written_in_french(number: int, words: str) -> None:
    assert words == number_words(number)


def test_contractions_are_made_where_french_makes_them() -> None:
    assert contract("de le bureau, de Excel, à le mur, de onze ans, de YouTube") == (
        "du bureau, d'Excel, au mur, de onze ans, de YouTube"
    )


def test_a_template_with_a_branch_left_open_is_refused() -> None:
    with pytest.raises(ValueError, match="never closed"):
        expand("[ouvre|lance {app}", seeded(0), {"app": "Word"})


def test_an_unknown_adapter_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"demo:rapide: unknown adapter .* jarvis, faible"):
        adapter_path("rapide")


def test_the_shipped_pair_weighs_less_than_fifteen_megabytes() -> None:
    folders = [base_path(), *(adapter_path(name) for name in ADAPTERS)]
    files = [path for folder in folders for path in folder.iterdir()]
    assert {"model.safetensors", "tokenizer.json", "adapter_model.safetensors"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) < 15_000_000


def dialogues(number: int, seed: int) -> list[str]:
    """Return what the demo's corpora ask, the misheard orders apart: a misspelt order can be one of the benchmark's."""
    guard = read_guard(PROMPTS)
    made = [one for make in (base_dialogues, jarvis_dialogues) for one in make(number, seed, guard)]
    return [one.user for one in made if not one.misheard]


def rows(texts: Iterable[str]) -> str:
    return "".join(json.dumps({"messages": [{"role": "user", "content": text}]}) + "\n" for text in texts)


def test_nothing_is_found_in_a_clean_corpus_and_only_what_is_planted_in_another(tmp_path) -> None:
    cases = load_prompts(PROMPTS).cases
    clean = dialogues(1500, 3)
    assert len(clean) > 1500
    train = tmp_path / "train.jsonl"
    train.write_text(rows(clean), encoding="utf-8")
    assert {} == search_training_data(cases, [train]).counts
    planted = {
        5: ("cv-01", "exact", cases[0].text.upper()),
        700: ("cv-02", "near", "ferme la calculatrise"),
        1400: ("tr-06", "contained", "Jarvis, préviens-moi dans un quart d'heure, merci"),
    }
    for place, (_, _, text) in planted.items():
        clean.insert(place, text)
    train.write_text(rows(clean), encoding="utf-8")
    leaks = search_training_data(cases, [train]).leaks
    assert {(prompt, kind, place + 1) for place, (prompt, kind, _) in planted.items()} == {
        (leak.prompt_id, leak.kind, leak.line) for own in leaks.values() for leak in own
    }
