"""Training data in its usual forms: what is read of it, with which line, and how a damaged line is named."""

import json
from pathlib import Path

import pytest

from pytest_jarvis.files import InputError
from pytest_jarvis.inputs.contamination import read_training_data


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


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train.jsonl", '{"prompt": "a"}\n{"prompt": ', "line 2: not valid JSON: column 11: "),
        ("train.jsonl", "3", "line 1: expected a JSON object with messages, conversations, prompt"),
        ("train.jsonl", '{"question": "a", "answer": 1}', "line 1: expected one of messages, conv"),
        ("train.jsonl", "{}", "found no key"),
        ("train.jsonl", '{"messages": "a"}', 'line 1: messages: expected a list of turns, found "a"'),
        ("train.jsonl", '{"messages": [7]}', "line 1: messages: turn 1: expected a role and its content, found 7"),
        ("train.jsonl", '{"messages": [{"role": "user"}]}', "messages: turn 1: expected a string, found null"),
        ("train.jsonl", '{"prompt": 3}', "line 1: prompt: expected a list of turns, found 3"),
        ("train.jsonl", '{"instruction": 3}', "line 1: instruction: expected a string, found 3"),
        ("train.jsonl", '{"text": ["' + "x" * 90 + '"]}', "line 1: text: expected a string, found"),
        ("train.jsonl", '[{"prompt": "a"}]', "line 1: expected a JSON object"),
        ("train.json", '[{"prompt": "a"},\n {"prompt" "b"}]', "line 2: not valid JSON: column 12: "),
        ("train.json", '[{"prompt": "a"}', "line 1: not valid JSON: column 17: "),
        ("train.json", '[\n {"prompt": "a"},\n 3]', "line 3: expected a JSON object"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_its_line(tmp_path, name: str, content: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        texts(tmp_path, content, name)
    assert str(caught.value).startswith(f"{tmp_path / name}: line ")
    assert sentence in str(caught.value)
    assert len(str(caught.value).removeprefix(str(tmp_path))) < 200


def test_a_file_that_is_not_there_is_one_sentence(tmp_path) -> None:
    with pytest.raises(InputError, match=r"absent\.jsonl: cannot be read"):
        list(read_training_data(tmp_path / "absent.jsonl"))
