"""Encode prompts by the chat template, and decode responses."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_jarvis.engines.base import CLOSE, CLOSE_CALL, OPEN, OPEN_CALL, PROBES, Answer, split_answer
from pytest_jarvis.files import time_limit
from pytest_jarvis.inputs.base_model import read_template, read_vocabulary
from pytest_jarvis.types import EngineError, GenerationSettings, Note, Tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_RENDER_S: Final = 10.0


class Chat:
    """Render and encode prompts by a tokenizer's template, and decode responses."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        settings: GenerationSettings,
        model_name: str,
        *,
        vocabulary: int | None = None,
    ) -> None:
        """`vocabulary` is the model's number of tokens; a prompt with others is refused."""
        self._tokenizer = tokenizer
        self._settings = settings
        self._name = model_name
        self._vocabulary = vocabulary
        self._rendered: dict[str, str] = {}
        if settings.template != "raw" and not tokenizer.chat_template:
            raise EngineError(
                f"{model_name}: its tokenizer has no chat template; "
                "use the template 'raw', which sends the prompt as it is"
            )
        marks = {tokenizer.convert_tokens_to_ids(mark) for mark in (OPEN, CLOSE, OPEN_CALL, CLOSE_CALL)}
        # A tokenizer may list these marks as special; without them, thinking and calls would read as text.
        self._dropped = frozenset(tokenizer.all_special_ids) - marks
        self._functions = [_function(tool) for tool in settings.tools]
        if self._functions:
            self._refuse_other_calls(model_name)
        if self.render("?") == self.render("!"):
            raise EngineError(
                f"{model_name}: its chat template drops the prompt: '?' and '!' give the same text; correct it, or use "
                "the template 'raw', which sends the prompt as it is"
            )

    def render(self, text: str) -> str:
        """Return the prompt as the model gets it."""
        if self._settings.template == "raw":
            return text
        if text not in self._rendered:
            self._rendered[text] = self._apply_template(text)
        return self._rendered[text]

    def _apply_template(self, text: str) -> str:
        messages = [{"role": "user", "content": text}]
        if self._settings.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._settings.system_prompt})
        try:
            with time_limit(_RENDER_S, f"not done within {_RENDER_S:.0f} s"):
                rendered: str = self._tokenizer.apply_chat_template(
                    messages,
                    tokenize=False,
                    add_generation_prompt=True,
                    enable_thinking=self._settings.thinking,
                    **({"tools": self._functions} if self._functions else {}),
                )
        except Exception as error:  # a template is another's program, and may refuse by any of them
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EngineError(
                f"{self._name}: its chat template cannot be used ({type(error).__name__}: {reason}); correct it, or "
                "use the template 'raw', which sends the prompt as it is"
            ) from error
        return rendered

    def _refuse_other_calls(self, model_name: str) -> None:
        """Raise EngineError when the template omits the tools, or asks for calls in a format we cannot read."""
        rendered = self.render("?")
        missing = [tool.name for tool in self._settings.tools if tool.name not in rendered]
        if missing:
            raise EngineError(
                f"{model_name}: its chat template does not list the tools ({missing[0]} is missing from its output); "
                "leave --jarvis-tools (generation.tools) out"
            )
        if OPEN_CALL not in rendered:
            raise EngineError(
                f"{model_name}: its chat template asks for tool calls in another format; only calls between "
                f"{OPEN_CALL} and {CLOSE_CALL}, as Qwen3 writes them, can be read; leave --jarvis-tools "
                "(generation.tools) out"
            )

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a prompt; EngineError for none, or for one outside the model's vocabulary."""
        rendered = self.render(text)
        # A chat template writes its own special tokens.
        tokens = tuple(
            self._tokenizer.encode(rendered, add_special_tokens=self._settings.template == "raw", verbose=False)
        )
        if not tokens:
            raise EngineError(
                f"the prompt {text!r} has no token once encoded; use the template 'chat' or another prompt"
            )
        if self._vocabulary is not None and max(tokens) >= self._vocabulary:
            raise EngineError(
                f"{self._name}: the prompt {text!r} has the token {max(tokens)}, and the model knows 0 to "
                f"{self._vocabulary - 1}: its tokenizer ({len(self._tokenizer)} tokens) is not the model's "
                f"({self._vocabulary}); copy the tokenizer from the model's source"
            )
        return tokens

    def opens_thinking(self, text: str) -> bool:
        """Return whether the template ends the prompt inside a thinking block."""
        rendered = self.render(text)
        return rendered.rfind(OPEN) > rendered.rfind(CLOSE)

    def read(self, new_tokens: Sequence[int], *, thinking_open: bool) -> Answer:
        """Return the decoded answer: without special tokens, the thinking block and calls apart, the text cut."""
        text: str = self._tokenizer.decode([token for token in new_tokens if token not in self._dropped])
        return split_answer(
            text,
            thinking_open=thinking_open,
            max_chars=self._settings.max_response_chars,
            with_calls=bool(self._functions),
        )


def compare_templates(
    tokenizer: PreTrainedTokenizerBase, folders: Mapping[str, Path], settings: GenerationSettings, model_name: str
) -> list[Note]:
    """Return notes of the adapters, by name, whose own chat template or tokenizer differs from the base's.

    Their template becomes the tokenizer's where `settings` ask for it. Raises EngineError for one that cannot be used,
    and where there is none, or more than one.
    """
    own = {
        name: text for name, folder in folders.items() if (text := read_template(folder, tools=bool(settings.tools)))
    }
    if settings.template == "adapter":
        if len(set(own.values())) != 1:
            found = "the adapters' templates differ" if own else "no adapter has a chat template beside its weights"
            raise EngineError(f"--jarvis-template adapter: {found}; use the template 'chat', which is the base's")
        tokenizer.chat_template = next(iter(own.values()))
    rendered = Chat(tokenizer, settings, model_name).render(PROBES[0])
    notes: list[Note] = []
    for name, template in own.items() if settings.template == "chat" else ():
        other = copy.copy(tokenizer)
        other.chat_template = template
        try:
            same = rendered == Chat(other, settings, name).render(PROBES[0])
        except EngineError:
            same = False
        notes += [] if same else [Note("adapter_template", {"name": name})]
    known = tokenizer.get_vocab()
    for name, folder in folders.items():
        if any(known.get(token) != number for token, number in read_vocabulary(folder).items()):
            notes.append(Note("adapter_tokenizer", {"name": name}))
    return notes


def _function(tool: Tool) -> dict[str, object]:
    """Return a tool as chat templates expect it: a function with a JSON schema of its parameters."""
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
    }
