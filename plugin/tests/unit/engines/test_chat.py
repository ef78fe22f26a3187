"""Prompts as the template writes them, and answers as the tokens say them."""

from typing import Any

import pytest
import transformers

from pytest_jarvis.engines.base import Answer, split_answer
from pytest_jarvis.engines.transformers.loading.base import refuse_config
from pytest_jarvis.engines.transformers.loading.chat import Chat
from pytest_jarvis.types import EngineError, GenerationSettings, Tool, ToolCall


class Letters:
    """A tokenizer of one token a character, whose thinking marks are tokens of their own and listed as special."""

    chat_template = "a template"
    all_special_ids = (0, 1, 2)
    _special = ("<eos>", "<think>", "</think>")

    def convert_tokens_to_ids(self, token: str) -> int | None:
        return self._special.index(token) if token in self._special else None

    def encode(self, text: str, *, add_special_tokens: bool, verbose: bool = True) -> list[int]:
        return [0] * add_special_tokens + [ord(letter) for letter in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(self._special[token] if token < 3 else chr(token) for token in tokens)

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        assert (False, True) == (options["tokenize"], options["add_generation_prompt"])
        said = "".join(f"[{message['role']}]{message['content']}" for message in messages)
        return said + ("<think>" if options["enable_thinking"] else "<think></think>")


def chat(**settings: Any) -> Chat:
    return Chat(Letters(), GenerationSettings(**settings), "the model")  # type: ignore[arg-type]  # a stand-in


def tokens(text: str) -> list[int]:
    return Letters().encode(text, add_special_tokens=False)


def test_the_template_writes_the_prompt_after_a_system_prompt() -> None:
    assert "[user]ouvre<think></think>" == chat().render("ouvre")
    assert "[system]sois bref[user]ouvre<think></think>" == chat(system_prompt="sois bref").render("ouvre")


def test_raw_sends_the_bare_prompt_with_the_tokenizers_own_marks() -> None:
    assert (0, ord("o"), ord("k")) == chat(template="raw").encode("ok")


def test_a_chat_prompt_gets_no_mark_beyond_its_template() -> None:
    assert 0 not in chat().encode("ok")


def test_a_tokenizer_without_a_template_is_refused_in_chat_mode(monkeypatch) -> None:
    monkeypatch.setattr(Letters, "chat_template", None)
    with pytest.raises(EngineError, match="the model: its tokenizer has no chat template; use the template 'raw'"):
        chat()
    assert "ouvre" == chat(template="raw").render("ouvre")


class Deaf(Letters):
    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        return "Bonjour"


def test_a_template_that_drops_the_prompt_is_refused() -> None:
    with pytest.raises(EngineError, match="the model: its chat template drops the prompt: '\\?' and '!' give the same"):
        Chat(Deaf(), GenerationSettings(), "the model")  # type: ignore[arg-type]  # a stand-in


def test_special_tokens_are_dropped_and_thinking_marks_are_not() -> None:
    said = [1, *tokens("hm"), 2, *tokens(" oui"), 0, 0]
    assert Answer(text="oui", thinking="hm", cut_chars=0) == chat().read(said, thinking_open=False)


def test_a_template_that_leaves_thinking_open_is_seen() -> None:
    assert (True, False) == (chat(thinking=True).opens_thinking("ouvre"), chat().opens_thinking("ouvre"))


@pytest.mark.parametrize(
    ("said", "opened", "expected"),
    [
        (" oui ", False, Answer(text="oui", thinking=None, cut_chars=0)),
        ("", False, Answer(text="", thinking=None, cut_chars=0)),
        ("<think>a</think>b", False, Answer(text="b", thinking="a", cut_chars=0)),
        ("<think>\n\n</think>\n\nb", False, Answer(text="b", thinking=None, cut_chars=0)),
        ("a</think>b", True, Answer(text="b", thinking="a", cut_chars=0)),
        ("<think>a", False, Answer(text=None, thinking="a", cut_chars=0)),
        ("a", True, Answer(text=None, thinking="a", cut_chars=0)),
        ("x" * 25, False, Answer(text="x" * 20, thinking=None, cut_chars=5)),
        ("<think>" + "a" * 30 + "</think>" + "x" * 21, False, Answer(text="x" * 20, thinking="a" * 30, cut_chars=1)),
    ],
)
def test_an_answer_is_split_from_its_thinking(said: str, opened: bool, expected: Answer) -> None:
    assert expected == split_answer(said, thinking_open=opened, max_chars=20)


TOOL = Tool(name="mute_tool", description="Couper le son.", parameters={"type": "object"}, terms=("silence",))
CALL = '<tool_call>{"name": "mute_tool", "arguments": {}}</tool_call>'


class WithTools(Letters):
    """The same, whose template offers tools as Qwen3's does, and whose call marks are special tokens."""

    all_special_ids = (0, 1, 2, 3, 4)
    _special = (*Letters._special, "<tool_call>", "</tool_call>")
    asks = "<tool_call>{...}</tool_call>"

    def decode(self, tokens: list[int]) -> str:
        return "".join(self._special[token] if token < 5 else chr(token) for token in tokens)

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        tools = options.pop("tools", None)
        offered = "".join(f"{one['type']} {one['function']['name']} {self.asks} " for one in tools or ())
        return offered + super().apply_chat_template(messages, **options)


def chat_with_tools(tokenizer: Letters, **settings: Any) -> Chat:
    return Chat(tokenizer, GenerationSettings(tools=(TOOL,), **settings), "the model")  # type: ignore[arg-type]


def test_tools_go_through_the_template_as_functions() -> None:
    shown = chat_with_tools(WithTools()).render("ouvre")
    assert "function mute_tool <tool_call>{...}</tool_call> [user]ouvre<think></think>" == shown


def test_without_tools_the_template_is_not_told_of_any() -> None:
    assert "[user]ouvre<think></think>" == Chat(WithTools(), GenerationSettings(), "m").render("ouvre")  # type: ignore[arg-type]


def test_a_template_that_offers_no_tools_is_refused() -> None:
    with pytest.raises(EngineError, match="the model: its chat template does not list the tools"):
        chat_with_tools(Letters())


def test_a_template_that_asks_for_calls_of_another_kind_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(WithTools, "asks", "[TOOL_CALLS]")
    with pytest.raises(EngineError, match="the model: its chat template asks for tool calls in another format"):
        chat_with_tools(WithTools())


def test_call_marks_that_are_special_tokens_are_kept() -> None:
    said = [3, *tokens('{"name": "mute_tool"}'), 4, 0]
    answer = chat_with_tools(WithTools()).read(said, thinking_open=False)
    assert (ToolCall(name="mute_tool"),) == answer.tool_calls


def test_a_call_beyond_the_cut_is_read() -> None:
    answer = split_answer(f"Bien sûr. {CALL}", thinking_open=False, max_chars=9, with_calls=True)
    assert ("Bien sûr.", (ToolCall(name="mute_tool"),)) == (answer.text, answer.tool_calls)


def test_a_call_in_the_thinking_is_none() -> None:
    said = f"<think>{CALL}</think>Non."
    assert () == split_answer(said, thinking_open=False, max_chars=99, with_calls=True).tool_calls


def test_calls_are_not_read_where_no_tools_were_offered() -> None:
    assert split_answer(CALL, thinking_open=False, max_chars=99).tool_calls is None


def test_a_configuration_of_countless_layers_is_refused_before_they_are_built() -> None:
    config = transformers.Qwen3Config(num_hidden_layers=200_000)
    with pytest.raises(EngineError, match="has 200000 layers"):
        refuse_config("m", config)


def test_a_template_that_does_not_end_is_given_up(monkeypatch) -> None:
    def loop(*_: object, **__: object) -> str:
        while True:
            pass

    monkeypatch.setattr("pytest_jarvis.engines.transformers.loading.chat._RENDER_S", 0.1)
    tokenizer = Letters()
    chat = Chat(tokenizer, GenerationSettings(), "m")
    monkeypatch.setattr(tokenizer, "apply_chat_template", loop)
    with pytest.raises(EngineError, match=r"its chat template cannot be used .*not done within"):
        chat.render("bonjour")
