"""Tools through the chat template of the embedded pair: offered, told apart from none, and too long said so."""

import msgspec
from msgspec.structs import replace

from pytest_jarvis.types import GenerationSettings, Request, Tool, ToolCall

TOOL = Tool(name="mute_tool", description="Couper le son.", parameters={"type": "object"}, terms=("silence",))
SETTINGS = GenerationSettings(max_new_tokens=4, timeout_s=None, tools=(TOOL,))
ASKED = [Request(prompt_id="p", text="coupe le son", arm="base", replicate=0)]


def test_tools_reach_the_model_and_calls_are_read(load_engine) -> None:
    engine = load_engine("demo", settings=SETTINGS)
    (answer,) = engine.generate(ASKED)
    assert answer.tool_calls is not None
    assert answer.prompt_tokens > 60
    said = engine._base.tokenizer.encode('<tool_call>\n{"name": "mute_tool"}\n</tool_call><|im_end|>')
    assert (ToolCall(name="mute_tool"),) == engine._chat.read(said, thinking_open=False).tool_calls
    assert not [note for note in engine.describe().notes if note.code == "longer_than_positions"]


def test_a_prompt_longer_than_the_model_was_made_for_is_noted(load_engine) -> None:
    many = tuple(replace(TOOL, name=f"tool_{number}", description="Couper le son. " * 20) for number in range(12))
    engine = load_engine("demo", settings=msgspec.structs.replace(SETTINGS, tools=many))
    list(engine.generate(ASKED))
    assert [1024] == [
        note.values["positions"] for note in engine.describe().notes if note.code == "longer_than_positions"
    ]
