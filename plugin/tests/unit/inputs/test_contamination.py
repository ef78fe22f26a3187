"""Training data in its usual forms, and prompts found in it: copies and near copies, nothing on a clean corpus."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.contamination import (
    MOST_LEAKS,
    PromptIndex,
    TrainingText,
    comparable_words,
    find_leaks,
    read_training_data,
    search_training_data,
)
from pytest_jarvis.inputs.prompts import load_prompts, packaged_prompts
from pytest_jarvis.text import words
from pytest_jarvis.types import PromptCase

PROMPTS = packaged_prompts()


def case(text: str, prompt_id: str = "p") -> PromptCase:
    return PromptCase(prompt_id=prompt_id, category="c", text=text, keywords=("a", "b"))


def found(prompt: str, text: str) -> list[tuple[str, float]]:
    return [(kind, round(similarity, 3)) for _, kind, similarity in PromptIndex([case(prompt)]).find(text)]


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("ouvre chrome", "Ouvre  CHROME !", [("exact", 1.0)]),
        ("réduis toutes les fenêtres", "reduis toutes les fenetres", [("exact", 1.0)]),
        ("préviens-moi dans un quart d'heure", "Préviens moi dans un quart d’heure.", [("exact", 1.0)]),
        ("ouvre chrome", "Jarvis, ouvre chrome s'il te plaît", [("contained", 1.0)]),
        ("ouvre chrome", "ouvre chromecast", []),
        ("ouvre chrome", "chrome, ouvre", []),
        ("ouvre chrome", "ouvre donc chrome", []),
        ("verrouille la session", "verouille la session", [("near", 0.917)]),
        ("verrouille la session", "peux-tu verrouiller la session", []),
        ("mets un minuteur de dix minutes", "mets un minuteur de six minutes", []),
        ("monte le volume de vingt pour cent", "monte le volume de vingt-cinq pour cent", []),
        ("monte le volume de vingt pour cent", "montes le volume de vingts pour cent", [("near", 0.929)]),
        ("garde une image de ce que je vois", "garde une bonne image de ce que je vois", [("near", 0.875)]),
        ("garde une image de ce que je vois", "dis, garde une image de ce que je voie, merci", [("near", 0.969)]),
        ("garde une image de ce que je vois", "une image de ce que je vois", [("near", 0.875)]),
        ("silence", "silence", [("exact", 1.0)]),
        ("silence", "un grand silence", []),
        ("silence", "silences", []),
        ("ouvre chrome", "bla", []),
        ("ouvre ouvre ouvre", "ouvre ouvre ouvre", [("exact", 1.0)]),
    ],
)
def test_copies_and_near_copies_are_told_from_other_sentences(
    prompt: str, text: str, expected: list[tuple[str, float]]
) -> None:
    assert expected == found(prompt, text)


def test_a_copy_is_found_in_a_long_text() -> None:
    assert [("contained", 1.0)] == found("lance le jeu", f"{'bla ' * 300}lance le jeu{' bla' * 300}")


def test_a_long_prompt_is_found_at_any_place_of_a_long_text() -> None:
    prompt = "garde une image de ce que je vois"
    for before in (40, 47, 48, 90, 95, 96, 97, 143):
        assert [("near", 0.969)] == found(prompt, "bla " * before + "garde une image de ce que je voie" + " bla" * 60)


@settings(max_examples=60)
@given(st.text(max_size=40) | st.text("aéœ'’-_ ÀB\u00adﬁß", max_size=30))
def test_words_are_those_the_scores_compare_but_for_underscores(text: str) -> None:
    plain = [part for word in words(text) for part in word.split("_") if part]
    if text.isascii() or set(text) <= set("aéœ'’-_ ÀB\u00adﬁß"):
        assert plain == comparable_words(text)


def test_every_prompt_is_found_when_it_is_planted(tmp_path) -> None:
    cases = load_prompts(PROMPTS).cases
    train = tmp_path / "train.txt"
    train.write_text("\n".join(case.text for case in cases), encoding="utf-8")
    result = search_training_data(cases, [train])
    assert [case.prompt_id for case in cases] == list(result.leaks)
    assert (30, 30) == (result.texts, result.prompts)
    assert {leak.kind for own in result.leaks.values() for leak in own if leak.line == 1} == {"exact"}


def test_places_are_counted_beyond_those_that_are_kept(tmp_path) -> None:
    train = tmp_path / "train.txt"
    train.write_text("ouvre chrome\n" * 50, encoding="utf-8")
    result = search_training_data([case("ouvre chrome")], [train, train])
    assert ({"p": 100}, MOST_LEAKS) == (result.counts, len(result.leaks["p"]))


def test_a_long_text_is_shown_by_its_beginning() -> None:
    text = TrainingText(file="x", line=1, text=f"ouvre chrome {'bla ' * 100}")
    (leak,) = find_leaks([case("ouvre chrome")], [text])
    assert (200, "…") == (len(leak.text), leak.text[-1])


def texts(tmp_path: Path, content: str, name: str = "train.jsonl") -> list[tuple[int, str]]:
    path = tmp_path / name
    path.write_bytes(content.encode())
    return [(one.line, one.text) for one in read_training_data(path)]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]}, ["a"]),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2}, ["a", "a"]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, "x"]}]}, ["a"]),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, ["a"]),
        ({"conversation": [{"role": "prompter", "content": "a"}]}, ["a"]),
        ({"prompt": "a", "completion": "b"}, ["a"]),
        ({"prompt": [{"role": "user", "content": "a"}], "chosen": [], "rejected": []}, ["a"]),
        ({"instruction": "a", "input": "b", "output": "c"}, ["a", "b"]),
        ({"instruction": "a", "input": "", "output": "c"}, ["a"]),
        ({"instruction": "a"}, ["a"]),
        (
            {"text": "<|im_start|>user\na b<|im_end|>\n<|im_start|>assistant\nc<|im_end|>"},
            ["user", "a b", "assistant", "c"],
        ),
        ({"text": "<s>[INST] a b [/INST] c</s>"}, ["a b", "c"]),
        ({"text": "### Instruction:\na b\n\n### Response:\nc"}, ["a b", "c"]),
        ("a", ["a"]),
    ],
)
def test_what_the_user_says_is_read_of_every_usual_form(tmp_path, record: object, expected: list[str]) -> None:
    line = json.dumps(record)
    assert [(2, text) for text in expected] == texts(tmp_path, f"\n{line}\n")


def test_a_list_of_records_is_read_with_the_line_of_each(tmp_path) -> None:
    content = json.dumps([{"prompt": "a"}, {"prompt": "b", "completion": "c"}], indent=1)
    assert [(2, "a"), (5, "b")] == texts(tmp_path, content, "train.json")
    assert [(1, "a"), (1, "b")] == texts(tmp_path, '["a" , "b"]', "train.json")
    assert [] == texts(tmp_path, " [] ", "train.json")


def test_any_file_of_objects_is_read_as_jsonl(tmp_path) -> None:
    assert [(1, "a"), (2, "b")] == texts(tmp_path, '{"prompt": "a"}\r\n{"prompt": "b"}', "train.txt")


def test_plain_text_is_a_text_a_line(tmp_path) -> None:
    assert [(1, "ouvre chrome"), (3, "été")] == texts(tmp_path, "ouvre chrome\n\n  été \r\n", "train.txt")


UNREADABLE = {
    "train.jsonl": [
        *('{"prompt": "a"}\n{"prompt": ', "3", '{"question": "a", "answer": 1}', "{}", '{"messages": "a"}'),
        *('{"messages": [7]}', '{"messages": [{"role": "user"}]}', '{"prompt": 3}', '{"instruction": 3}'),
        *('{"text": ["' + "x" * 90 + '"]}', '[{"prompt": "a"}]'),
    ],
    "train.json": ['[{"prompt": "a"},\n {"prompt" "b"}]', '[{"prompt": "a"}', '[\n {"prompt": "a"},\n 3]'],
}


def test_what_cannot_be_read_is_one_sentence_with_its_line(tmp_path, golden) -> None:
    cases = [(name, content) for name, contents in UNREADABLE.items() for content in contents]
    said = []
    for name, content in cases:
        with pytest.raises(InputError) as caught:
            texts(tmp_path, content, name)
        sentence = re.sub(r"(column \d+): [^;]*", r"\1", str(caught.value))  # the words there are json's
        said.append(f"{content}\n    {sentence.removeprefix(str(tmp_path))[1:]}\n")
    assert golden == "".join(said)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl: cannot be read"):
        list(read_training_data(tmp_path / "absent.jsonl"))
