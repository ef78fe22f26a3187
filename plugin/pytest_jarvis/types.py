"""The values everything else passes around: frozen and keyword-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Final, Literal

import msgspec

BASE_ARM = "base"
"""The name of the arm that answers with every adapter off."""

TWIN_ARM = "base_bis"
"""The arm that stands for an adapter in an A/A run: the base again, with noise of its own."""

TWIN_REPLICATES = 1_000_000
"""Where the twin's replicates begin: far from any that the base draws, so that no noise is shared."""

LOOKS = (4, 8, 16)
"""Responses per prompt and arm at each look."""

Policy = Literal["proven", "point", "off"]
"""How a bar is judged: by what is proven of the true value, by the value seen, or not at all."""
Require = Literal["first", "any", "all"]
"""Which adapters must pass: the first named (the candidate), one of them, or each."""


class GatePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of the gate: what is asked of the run before it begins."""

    policy: Policy = "proven"
    min_gain: float = 0.05
    """Gain of relevance asked for, as a share of the base's: 0.05 is 5 %."""
    alpha: float = 0.05
    """Chance of a wrong PASS, over all looks and adapters."""
    looks: tuple[int, ...] = LOOKS
    """Responses per prompt and arm at which the drawing may stop; one number is a fixed count."""
    require: Require = "first"
    strict: bool = False
    """Whether a run that cannot be judged fails."""
    inconclusive: Literal["fail", "warn"] = "fail"
    """Whether a run whose gate settles nothing fails."""
    max_failure_share: float = 0.05
    """Largest share of an arm's responses that may fail."""
    shared_noise: bool = True
    """Whether base and adapters answer with the same noise; False in an A/A run."""
    deterministic: bool = False
    """Whether nothing is drawn at random: one response says all."""


FinishReason = Literal["stop", "length", "timeout"]
Stage = Literal["load", "generate", "timeout", "score"]
Template = Literal["chat", "raw"]
Positive = Annotated[int, msgspec.Meta(ge=1)]
ResponseKey = tuple[str, str, int]
"""What names one response of a run: prompt id, arm, replicate."""

NoteValue = str | int | float | bool
NoteCode = Literal[
    "text",  # free text of a library, a server or another's engine: {text}, shown as it is
    # Why a response, or its score, could not be made.
    "out_of_memory",
    "not_finite",
    "cut_in_time",
    "thinking_not_closed",
    "not_recorded",
    "worker_died",
    "no_clean_answer",
    "metric_fault",
    "hook_fault",
    "raised",
    "not_a_number",
    "not_numbers_by_name",
    "not_a_name",
    "name_taken",
    # Of a server's requests.
    "after_tries",
    "server_status",
    "server_unreachable",
    "server_silent",
    "server_too_slow",
    "no_token_in_time",
    "connection_cut",
    "server_error",
    "server_broke_api",
    "server_ended",
    "server_gone",
    "encoder_not_loaded",
    # Why arms run in separate passes.
    "logprobs_off_beside",
    "answers_of_another",
    "mixed_not_finite",
    "mixed_logits_differ",
    "mixed_adapter_off",
    "mixed_adapter_lost",
    "adapter_replaces_module",
    # Why a GPU runs plainly.
    "plain_as_asked",
    "several_devices",
    "rows_by_lists",
    "more_than_keys_and_values",
    "logits_differ",
    "experts_not_exchangeable",
    "experts_in_another_layout",
    "experts_not_all_4bit",
    "experts_not_in_blocks",
    "products_off",
    # What an engine says of itself.
    "scripted",
    "no_gpu",
    "kept_dequantized",
    "experts_packed",
    "experts_unpacked",
    "steps_not_recorded",
    "same_bits",
    "same_bits_of_probes",
    "batch_changes_bits",
    "batch_changes_tokens",
    "separate_passes",
    "longer_than_positions",
    "adapter_inert",
    "base_moved",
    "adapter_of_other_base",
    "adapter_keys_unknown",
    "server_unmeasured",
    "seeds_ignored",
    "seeds_hold_alone",
    "seeds_unseen",
    "no_samplers",
    "no_thinking_switch",
    "no_token_count",
    "no_embedding_model",
    "cosine_not_measured",
    # What the run says of itself.
    "adapter_chosen",
    "adapter_passed_over",
    "relevance_share",
    "several_processes",
]
_ENGLISH: Final[Mapping[NoteCode, str]] = {
    "text": "{text}",
    "out_of_memory": "out of memory for this response alone",
    "not_finite": "logits are not finite",
    "cut_in_time": "cut after {seconds} s at {tokens} tokens (finish reason: timeout)",
    "thinking_not_closed": (
        "the thinking block was not closed within {tokens} tokens; raise max_new_tokens or turn thinking off"
    ),
    "not_recorded": "the replayed report holds no response to this prompt; run without --jarvis-replay",
    "worker_died": "the worker process died while it ran this test",
    "no_clean_answer": "no answer to the clean command '{command}': {cause}",
    "metric_fault": "metric '{metric}': prompt '{prompt}', {arm}, response {number}: {cause}",
    "hook_fault": "{hook}: prompt '{prompt}', {arm}, response {number}: {cause}",
    "raised": "raised {error}",
    "not_a_number": "expected a finite number, or None where it does not apply, found {found}",
    "not_numbers_by_name": "expected numbers by name, found {found}",
    "not_a_name": "expected a name such as 'politesse', found {found}",
    "name_taken": "'{name}' is the name of another metric",
    "after_tries": "{cause} (after {tries} tries)",
    "server_status": "the server answered {status}: {said}",
    "server_unreachable": "the server cannot be reached",
    "server_silent": "the server did not answer within {seconds} s",
    "server_too_slow": "the server did not answer in time",
    "no_token_in_time": "no token within {seconds} s",
    "connection_cut": "the connection was cut in the middle of the answer",
    "server_error": "the server reported an error in its answer: {said}",
    "server_broke_api": "the server's answer is not what the API promises",
    "server_ended": "the server ended the answer for another reason: {said}",
    "server_gone": "not asked: the server stopped answering",
    "encoder_not_loaded": "{name} cannot be loaded: {said}",
    "logprobs_off_beside": (
        "beside '{other}' the log-probabilities of '{name}' are off by {size}, half or more of what tells the two "
        "apart ({apart})"
    ),
    "answers_of_another": "beside '{other}' the answers of '{name}' are those of '{other}'",
}
"""What stands in errors, which are English."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader of a report should know, or why something failed: a code and its values.

    Words are made where it is shown; an engine from outside says what it likes with `text_note`.
    """

    code: NoteCode
    values: Mapping[str, NoteValue] = field(default_factory=dict, hash=False)
    cause: Note | None = None
    """Why, where that is a note of its own."""

    def __str__(self) -> str:
        """Return the note in English, as errors need it; one that no error holds, as its code and values."""
        values = {name: number_text(value) for name, value in self.values.items()}
        if self.cause is not None:
            values["cause"] = str(self.cause)
        template = _ENGLISH.get(self.code)
        if template is None:
            return ", ".join([self.code, *(f"{name}={value}" for name, value in values.items())])
        return template.format_map(defaultdict(lambda: "?", values))


def text_note(text: str) -> Note:
    """Return a note whose words are a library's, a server's or another's: shown as they are."""
    return Note("text", {"text": text})


def number_text(value: NoteValue) -> str:
    """Return a note's value as text, a fraction to three figures."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1000 <= abs(value) < inf else f"{value:.3g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCase:
    """One prompt of the benchmark, as its file states it."""

    prompt_id: str
    category: str
    text: str
    keywords: tuple[str, ...]
    expected_tool: str | None = None
    expected_arguments: Mapping[str, object] | None = field(default=None, hash=False)
    """What a call's arguments must hold beyond their schema; a list gives the values that are allowed."""
    no_tool: bool = False
    """Whether no tool may be called; without it and without an `expected_tool`, the choice is not judged."""
    intended: str | None = None
    """The command that was meant, when `text` is what a recogniser misheard."""
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """The prompts of one file: its stem is the name, `label` is what reports print."""

    name: str
    label: str
    description: str
    cases: tuple[PromptCase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One thing JARVIS can do, and the words by which an answer names it."""

    name: str
    description: str
    parameters: Mapping[str, object]
    """A JSON schema of type object."""
    terms: tuple[str, ...]


MalformedCode = Literal["not_closed", "not_opened", "not_json", "not_object", "no_name", "arguments_not_object"]
"""not_closed, not_opened: half a pair of `<tool_call>` marks. not_json: what stands between them is no strict JSON.
not_object: it is JSON, but no object. no_name: `name` is missing or no text. arguments_not_object: they are no object.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a reply, as it was read; `problem` says why it is no call that could be run."""

    name: str | None
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)
    problem: MalformedCode | None = None


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """How every response of a run is drawn, the same for all arms: what the configuration and an engine share."""

    max_new_tokens: Positive = 128
    """Longest response, in tokens."""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.7
    """Of the sampling; 0 takes the likeliest token, always the same."""
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    """Draw among the likeliest tokens that have this share of the probability together."""
    do_sample: bool = True
    """false takes the likeliest token: one response then says everything."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = 30.0
    """Longest generation of a response, in seconds; null for none. A response that is cut is a failure."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Of all sampling."""
    template: Literal["chat", "raw"] = "chat"
    """`chat`: the model's own template; `raw`: the bare prompt."""
    thinking: bool = False
    """Let the model think before it answers; what it thinks is kept apart."""
    system_prompt: str | None = None
    """What the model is told before the prompt."""
    max_response_chars: Positive = 500
    """Where a response is cut, in characters; how many were cut is counted."""

    @property
    def is_greedy(self) -> bool:
        """Whether nothing is drawn at random: one response says all."""
        return not self.do_sample or self.temperature == 0


class GenerationSettings(Generation, frozen=True, kw_only=True):
    """What an engine takes; `report.json` calls `thinking` as chat templates do."""

    thinking: bool = msgspec.field(default=False, name="enable_thinking")
    tools: tuple[Tool, ...] = ()
    """What the template offers the model to call; empty when tools are off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """An adapter as the user named it: the arm's name and where its files are."""

    name: str
    source: str
    """A folder, or `demo:NAME` for an embedded one; for a server, the name it serves the adapter under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """Where the models are served, and how the server is asked. Holds no key: that comes from the environment."""

    base_url: str
    """Up to and with `/v1`."""
    concurrency: int = 32
    """Requests under way at once."""
    retries: int = 3
    """Further tries of a request that failed in passing."""
    embedding_model: str | None = None
    """The server's name of the model that makes the cosine's vectors; `local:` and a name or a folder for an encoder
    of sentence-transformers on this machine."""
    embedding_url: str | None = None
    """Where that model is served, when it is not at `base_url`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The base model and its adapters, as asked for."""

    base_model: str = "demo"
    """A folder, a hub id, or `demo`; for a server, the name it serves the base under."""
    adapters: tuple[AdapterSpec, ...] = ()
    quantization: Literal["nf4", "none"] | None = "nf4"
    """None where a server decides."""
    device_map: str = "auto"
    max_memory: Mapping[str, str] | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    batch_size: int | None = None
    """Rows in one batch; None chooses from the free memory."""
    allow_partial_4bit: bool = False
    allow_inert_adapter: bool = False
    plain_gpu: bool = False
    """Neither the kernel for experts in 4 bits nor recorded steps."""
    log_level: Literal["error", "warning", "info", "debug"] = "error"
    """From which level on the libraries that load it may say something."""
    server: ServerSpec | None = None
    """For the server engine alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One response to draw."""

    prompt_id: str
    text: str
    arm: str
    replicate: int

    @property
    def key(self) -> ResponseKey:
        """What names its response."""
        return (self.prompt_id, self.arm, self.replicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything that determines a response: two requests of one identity get the same one.

    The arm's name is left out on purpose: two adapters of one name differ by their digests.
    """

    engine: str
    """Its name, its version, and a digest of what in it computes."""
    base: str
    """Fingerprint of the base: the commit of the hub, or a digest of its files."""
    adapter: str | None
    """Digest of the adapter's files; None for the base."""
    storage: str
    """How the weights are held, as measured."""
    arithmetic: str
    """The dtype that computes, and the kind of device."""
    template: str
    """Digest of the chat template; `raw` where none is used."""
    prompt: str
    """The prompt as the model gets it."""
    prompt_id: str
    replicate: int
    seed: int
    settings: Mapping[str, str | int | float | bool | None]
    """The rest of the generation settings, but for those that only say how long one waits."""
    versions: Mapping[str, str]
    """Of the libraries that compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What one arm answered once."""

    prompt_id: str
    arm: str
    replicate: int
    text: str
    """The answer: prompt and thinking removed, stripped, cut to `max_response_chars`."""
    thinking: str | None
    """What stood in a closed `<think>` block; None when there was none or it was empty."""
    finish_reason: FinishReason
    prompt_tokens: int | None
    """None where a server does not count them."""
    new_tokens: int
    duration_s: float
    """From the start of its batch, or the sending of its request, to its own last token."""
    first_token_s: float | None
    cut_chars: int = 0
    """How many characters `max_response_chars` removed."""
    tool_calls: tuple[ToolCall, ...] | None = None
    """The calls in the whole answer, before it was cut; None when no tools were offered."""

    @property
    def key(self) -> ResponseKey:
        """What names it in its run."""
        return (self.prompt_id, self.arm, self.replicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A response, or its score, that could not be made. Not a score of 0."""

    prompt_id: str
    arm: str
    replicate: int
    stage: Stage
    reason: Note

    @property
    def key(self) -> ResponseKey:
        """What names the response that is missing."""
        return (self.prompt_id, self.arm, self.replicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Memory of one device, in bytes."""

    device: str
    """`GPU 0`, or `CPU` for this process."""
    allocated_bytes: int
    peak_bytes: int
    reserved_bytes: int | None
    total_bytes: int

    def __str__(self) -> str:
        """Return the reading as reports print it, in decimal gigabytes."""

        def gigabytes(value: int) -> str:
            return f"{value / 1e9:.1f}GB"

        parts = [gigabytes(self.allocated_bytes)]
        if self.reserved_bytes is not None:
            parts.append(f"{gigabytes(self.reserved_bytes)} reserved")
        parts.append(f"{gigabytes(self.total_bytes)} total")
        return f"{self.device}: {' / '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call of `Engine.generate` is."""

    responses_done: int
    responses_planned: int
    tokens: int
    """New tokens drawn so far in this call, all rows together."""
    elapsed_s: float
    memory: tuple[DeviceMemory, ...] = ()
    """Readings of a moment ago; empty where the engine has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCoverage:
    """Weights of one kind (experts, attention, embeddings, head, norms, other) by how they are stored."""

    kind: str
    weights: Mapping[str, int]
    """Number of weights per storage: `nf4`, `bfloat16`, ..."""
    bytes: Mapping[str, int]


StorageFormat = Literal["nf4", "fp4", "4bit", "16bit", "32bit", "checkpoint", "server", "none", "text"]
"""checkpoint: quantised by its files, by a `method`. server: not measured. none: there are no weights. text: as an old
report says it, in `method`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How the expert and linear weights are stored, as measured."""

    format: StorageFormat
    share: float | None = None
    """Share of them in this format, to a thousandth, where that is only a part."""
    method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationCoverage:
    """What was measured on the loaded model, not what was asked for."""

    storage: Storage
    share_4bit: float | None
    """Share of the expert and linear weights (head and embeddings apart) held in 4 bits; None when not asked for."""
    kinds: tuple[KindCoverage, ...] = ()
    not_4bit: tuple[str, ...] = ()
    """Names of the expert and linear tensors that should be in 4 bits and are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterProof:
    """What was seen of an adapter before anything was scored; None where the engine cannot see it."""

    name: str
    source: str
    sha256: str | None
    rank: int | None
    targets: tuple[str, ...]
    weights: int | None
    """Number of weights the adapter holds."""
    max_logit_change: float | None
    """Largest difference of a logit, adapter on against off, over the probe prompts."""
    base_unchanged: bool | None
    """With the adapter off the logits are those of the base before it was attached, bit for bit."""
    max_base_drift: float | None
    """Largest difference of a logit between those two; 0.0 when unchanged."""
    live: bool
    max_logprob_change: float | None = None
    """Largest difference of a token's log-probability, adapter against base, over greedy answers to the probes."""
    max_logprob_drift: float | None = None
    """The same, of the base against itself, asked again."""
    texts_changed: int | None = None
    """Greedy answers to the probes that differ from the base's."""
    probes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One arm's model, as the server lists it."""

    arm: str
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the list says of it: `owned_by`, `root`, `parent`, `max_model_len`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says of itself, and what was seen of how it draws."""

    base_url: str
    version: str | None
    models: tuple[ServedModel, ...]
    system_fingerprint: str | None
    repeats: Literal["always", "alone", "never"] | None
    """When the same request with the same seed gave the same text; `alone`: not beside other requests. None where it
    was not tried, or could not be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDescription:
    """What an engine says of itself, for the report."""

    engine: str
    base_model: str
    display_name: str
    """What a reader is told the model is; the demo says that it is one."""
    is_demo: bool
    is_real: bool
    """False for an engine that makes its answers up; no report made with it can pass for a real one."""
    device: str
    compute_dtype: str
    coverage: QuantizationCoverage
    adapters: tuple[AdapterProof, ...]
    batching: Literal["mixed", "two passes", "none", "server"]
    memory: tuple[DeviceMemory, ...]
    """As it is now; the peak is the one since the load."""
    loaded_memory: tuple[DeviceMemory, ...] = ()
    """As it was when everything was loaded and proven; the peak is the one of the load."""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    server: ServerFacts | None = None
    embedding: str | None = None
    """Which model made the vectors of the cosine, where that is not the base."""


class EngineError(Exception):
    """A model or an adapter that cannot be used: the message is one sentence for the user."""


ProblemKind = Literal["full", "unwritable", "busy", "damaged", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreProblem:
    """Why a run goes on without its store."""

    kind: ProblemKind
    path: str
    reason: str
    """As the system says it."""
