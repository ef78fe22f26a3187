"""The frozen values that every room passes: prompts, generation settings, requests, responses, notes, proofs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import inf
from typing import Annotated, Final, Literal

import msgspec

BASE_ARM = "base"
"""Name of the arm without an adapter."""

TWIN_ARM = "base_bis"
"""Name of the twin, the arm in place of an adapter in an A/A run."""

ANSWERS = "answers"
"""Name of the engine, and of the base, in reports on answers made elsewhere: who made them is not known."""

TWIN_REPLICATES = 1_000_000  # Number of the twin's first replicate: far from the base's, so that they share no noise.

LOOKS = (4, 8, 16)
"""Responses per prompt and arm at each look."""

Policy = Literal["proven", "point", "off"]
"""How a threshold is judged: by a test of the true value, by the point estimate, or not at all."""
Primary = Literal["relevance", "deeds"]
Require = Literal["first", "any", "all"]
"""Which adapters must pass: the candidate, any, or all."""


class GatePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of the gate, fixed before the run."""

    policy: Policy = "proven"
    min_gain: float = 0.05
    """Least gain of relevance, as a share of the base's: 0.05 is 5 %."""
    primary: Primary = "relevance"
    """The headline: the gain that must be shown."""
    min_done_gain: float = 0.05
    """With the deeds as headline, the least difference of their share from the base's: 0.05 is five points."""
    alpha: float = 0.05
    """Error rate of a PASS, over all looks and adapters."""
    looks: tuple[int, ...] = LOOKS
    """Responses per prompt and arm at which generation may stop; one number is a fixed count."""
    require: Require = "first"
    strict: bool = False
    """Whether a run that cannot be judged fails."""
    inconclusive: Literal["fail", "warn"] = "fail"
    """Whether an inconclusive gate fails the run."""
    unjudged: Literal["fail", "warn"] = "fail"
    """Whether a run of all prompts that cannot be judged fails."""
    max_failure_share: float = 0.05
    """Largest share of an arm's responses that may fail."""
    shared_noise: bool = True
    """Whether base and adapters are sampled with the same noise; False in an A/A run, and of answers made elsewhere."""
    deterministic: bool = False
    """Whether decoding is greedy, so that all replicates are the same."""


RightDeed = Literal["act", "ask", "refuse", "ask_or_refuse", "nothing"]
"""What a good answer does: the deed that was asked for, ask back first, refuse, either of these, or no deed at all."""
OutcomeKind = Literal["done", "wrong_action", "wrong_target", "several", "not_done"]
"""done: the action that was meant, on what was meant. wrong_action: another action. wrong_target: the right action on
another thing, or with another value. several: the right action, and others nobody asked for. not_done: nothing is done:
it refuses, explains, asks back, repeats, or speaks of something else.
"""

FinishReason = Literal["stop", "length", "timeout"]
Stage = Literal["load", "generate", "timeout", "score"]
LogLevel = Literal["error", "warning", "info", "debug"]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
ResponseKey = tuple[str, str, int]
"""Prompt id, arm and replicate: identifies a response within a run."""

NoteValue = str | int | float | bool
# fmt: off
NoteCode = Literal[
    # Free text of a library, a server or an engine of a third party: {text}.
    "text",
    # Reasons of failures.
    "out_of_memory", "not_finite", "cut_in_time", "thinking_not_closed", "not_recorded", "no_answer", "worker_died",
    "metric_fault", "hook_fault", "raised", "not_a_number", "not_numbers_by_name", "not_a_name",
    "name_taken",
    # Failures of requests to a server.
    "after_tries", "server_status", "server_unreachable", "server_silent", "server_too_slow", "no_token_in_time",
    "connection_cut", "server_error", "server_broke_api", "server_web_page", "server_redirects", "answer_too_large",
    "server_ended", "server_gone", "encoder_not_loaded",
    # Why arms run in separate passes.
    "logprobs_off_beside", "answers_of_another", "mixed_not_finite", "mixed_logits_differ", "mixed_adapter_off",
    "mixed_adapter_lost", "adapter_replaces_module",
    # Why a GPU runs without the 4-bit kernel or CUDA graphs.
    "plain_as_asked", "several_devices", "rows_by_lists", "more_than_keys_and_values", "logits_differ",
    "experts_not_exchangeable", "experts_in_another_layout", "experts_not_all_4bit", "experts_not_in_blocks",
    "products_off",
    # Notes of an engine.
    "scripted", "no_gpu", "kept_dequantized", "experts_packed", "experts_unpacked", "steps_not_recorded", "same_bits",
    "same_bits_of_probes", "batch_changes_bits", "batch_changes_tokens", "separate_passes", "longer_than_positions",
    "adapter_inert", "base_moved", "adapter_of_other_base", "adapter_template",
    "quantized_twice", "dequantized_gguf", "adapter_tokenizer", "adapter_keys_unknown", "server_unmeasured",
    "seeds_ignored", "seeds_hold_alone", "seeds_unseen", "no_samplers", "no_thinking_switch", "no_token_count",
    "no_embedding_model", "cosine_not_measured", "answer_under_reasoning",
    # Notes of the run.
    "adapter_chosen", "adapter_passed_over", "relevance_share", "several_processes",
]
# fmt: on
_ENGLISH: Final[Mapping[NoteCode, str]] = {
    "text": "{text}",
    "out_of_memory": "out of memory for this response alone",
    "not_finite": "logits are not finite",
    "cut_in_time": "cut after {seconds} s at {tokens} tokens (finish reason: timeout)",
    "thinking_not_closed": (
        "the thinking block was not closed within {tokens} tokens; raise max_new_tokens or turn thinking off"
    ),
    "not_recorded": "the replayed report holds no response to this prompt; run without --jarvis-replay",
    "no_answer": "{file} has no answer of this arm to this prompt",
    "worker_died": "the worker process died while it ran this test",
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
    "server_web_page": "the server answered with a web page",
    "server_redirects": "the server sends on to {where}, where nothing is asked; give that address if it is meant",
    "answer_too_large": "the server's answer is longer than {bytes} bytes",
    "server_ended": "the server ended the answer for another reason: {said}",
    "server_gone": "not asked: the server stopped answering",
    "encoder_not_loaded": "{name} cannot be loaded: {said}",
    "logprobs_off_beside": (
        "beside '{other}' the log-probabilities of '{name}' are off by {size}, half or more of what tells the two "
        "apart ({apart})"
    ),
    "answers_of_another": "beside '{other}' the answers of '{name}' are those of '{other}'",
}
"""English templates of the codes that occur in errors."""


class Note(msgspec.Struct, frozen=True):
    """Something a reader of a report should know, or why something failed: a code and its values.

    `render.french` has the sentences; an engine of a third party writes its own with `text_note`.
    """

    code: NoteCode
    values: Mapping[str, NoteValue] = {}
    cause: Note | None = None
    """The note that explains this one."""

    def __hash__(self) -> int:
        """Return a hash without the values, which are a mapping."""
        return hash((self.code, self.cause))

    def __str__(self) -> str:
        """Return the note in English; one that occurs in no error as its code and values."""
        values = {name: format_value(value) for name, value in self.values.items()}
        if self.cause is not None:
            values["cause"] = str(self.cause)
        template = _ENGLISH.get(self.code)
        if template is None:
            return ", ".join([self.code, *(f"{name}={value}" for name, value in values.items())])
        return template.format_map(defaultdict(lambda: "?", values))


def text_note(text: str) -> Note:
    """Return a note of free text, such as a library's message."""
    return Note("text", {"text": text})


def format_value(value: NoteValue) -> str:
    """Return a note's value as text, a float to three significant figures."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if 1000 <= abs(value) < inf else f"{value:.3g}"


class PromptCase(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt of the benchmark, as in its file."""

    prompt_id: str
    category: str
    text: str
    keywords: tuple[str, ...]
    expected_tool: str | None = None
    expected_arguments: Mapping[str, object] | None = None
    """Required arguments of the call; a list holds the allowed values."""
    target: tuple[str, ...] = ()
    """Names, any one of which an answer may use, of what it is to be done to where no argument says so."""
    no_tool: bool = False
    """Whether no tool may be called. Without it and `expected_tool`, the choice is not judged."""
    right_deed: RightDeed = "act"
    also: tuple[str, ...] = ()
    """Further tools that the sentence asks for."""
    intended: str | None = None
    """The clean command, when `text` is a misheard one."""
    note: str | None = None

    @property
    def has_relevance(self) -> bool:
        """Whether an answer is better for the terms it uses: one tool is wanted, or any may be."""
        return not (self.no_tool or self.also)


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """The prompts of one file; `name` is its stem, `label` the name in reports."""

    name: str
    label: str
    description: str
    cases: tuple[PromptCase, ...]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool of JARVIS, and the terms by which a response names it."""

    name: str
    description: str
    parameters: Mapping[str, object]
    """A JSON schema of type object."""
    terms: tuple[str, ...]
    verbs: tuple[str, ...] = ()
    """Verbs, in the infinitive, that do what the tool does."""
    objects: tuple[str, ...] = ()
    """Names of what it is done to."""
    opposites: tuple[str, ...] = ()
    """Verbs that undo it."""
    signs: tuple[str, ...] = ()
    """Regular expressions of turns of phrase that show it was done without its verb; small letters, no accents."""


MalformedCode = Literal["not_closed", "not_opened", "not_json", "not_object", "no_name", "arguments_not_object"]
"""not_closed, not_opened: half a pair of `<tool_call>` marks. not_json: no strict JSON between them. not_object: JSON,
but no object. no_name: `name` is missing or no string."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call parsed from a response; `problem` says why it could not be run."""

    name: str | None
    arguments: Mapping[str, object] = {}
    problem: MalformedCode | None = None


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """Generation settings of every arm, shared by the configuration and the engines."""

    max_new_tokens: Positive = 128
    """Longest response, in tokens."""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.7
    """Sampling temperature; 0 means greedy decoding."""
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    """Nucleus sampling: the likeliest tokens with this total probability."""
    do_sample: bool = True
    """false means greedy decoding: one response per prompt and arm then suffices."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] | None = 30.0
    """Longest generation of a response, in seconds; null for no limit. A response cut by it is a failure."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Seed of all sampling."""
    template: Literal["chat", "raw", "adapter"] = "chat"
    """`chat`: the model's chat template; `raw`: the bare prompt; `adapter`: that beside an adapter, for every arm."""
    thinking: bool = False
    """Let the model think before it answers; the thinking is not scored."""
    system_prompt: str | None = None
    """System prompt, before the user's."""
    max_response_chars: Positive = 500
    """Longest response, in characters; longer ones are cut and counted."""
    batch_size: Positive | None = None
    """Rows of a batch; null chooses by the free memory."""

    @property
    def is_greedy(self) -> bool:
        """Whether decoding is greedy, so that all replicates are the same."""
        return not self.do_sample or self.temperature == 0


class GenerationSettings(Generation, frozen=True, kw_only=True):
    """Generation settings as an engine takes them; `report.json` names `thinking` as chat templates do."""

    thinking: bool = msgspec.field(default=False, name="enable_thinking")
    tools: tuple[Tool, ...] = ()
    """Tools that the template offers; empty when tools are off."""


class AdapterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter: the name of its arm, and its files."""

    name: str
    source: str
    """A folder, or `demo:NAME` for an embedded one; for a server, its name for the adapter."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The base, and how to load it or reach its server: what the configuration and an engine share."""

    base_model_id: Annotated[str, msgspec.Meta(min_length=1)] = "demo"
    """The base: a folder, a hub id, a `.gguf`, or `demo`, the embedded one."""
    quantization: Literal["nf4", "fp4", "none"] = "nf4"
    """`nf4` or `fp4`: 4 bits, experts included; `none`: unquantised, in 16 bits."""
    double_quant: bool = True
    """Whether the scales of the 4 bits are quantised too: half a bit less for each weight."""
    compute_dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """Type of the arithmetic, and of weights that are not in 4 bits; null: `bfloat16` on a GPU, `float32` on a CPU."""
    allow_partial_4bit: bool = False
    """Run even if less than 95 % of the weights are in 4 bits; every output is labelled."""
    allow_inert_adapter: bool = False
    """Run even if an adapter changes nothing."""
    plain_gpu: bool = False
    """On a GPU, dequantise experts at every step and use no CUDA graph: slower, to rule out both as causes."""
    device_map: str = "auto"
    """Placement of the layers: `auto`, `balanced`, `balanced_low_0`, `sequential`, `cpu`, `cuda` or `cuda:N`."""
    max_memory: dict[str, str] | None = None
    """Maximum memory per device: GPU number or `cpu` -> a size such as `20GB`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    trust_remote_code: bool = False
    """Run the Python code that comes with a model; only for one you trust like your own code."""
    base_url: str | None = None
    """Address of the server for the engine `server`, with `/v1` at its end."""
    concurrency: Positive = 32
    """Concurrent requests to a server."""
    retries: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    """Retries of a request to a server after a transient failure."""
    embedding_model: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """With the engine `server`, the model of the cosine's embeddings: a name it serves, or `local:` and an encoder."""
    embedding_url: str | None = None
    """Address of that model's server, when it is not `base_url`."""


class ModelSpec(Model, frozen=True, kw_only=True):
    """The model that an engine loads; `report.json` names the base `base_model`, and groups the keys of a server."""

    base_model_id: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(default="demo", name="base_model")
    adapters: tuple[AdapterSpec, ...] = ()
    log_level: LogLevel = "error"
    """Log level of the libraries that load the model."""


class _OneResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that identify a response within its run."""

    prompt_id: str
    arm: str
    replicate: int

    @property
    def key(self) -> ResponseKey:
        """Prompt id, arm and replicate."""
        return (self.prompt_id, self.arm, self.replicate)

    def failure(self, stage: Stage, reason: Note) -> Failure:
        """Return the failure of this response."""
        return Failure(prompt_id=self.prompt_id, arm=self.arm, replicate=self.replicate, stage=stage, reason=reason)


class Request(_OneResponse, frozen=True, kw_only=True):
    """One response to generate."""

    text: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines a response: requests of equal identity get equal responses.

    The name of the arm is left out on purpose: two adapters of one name differ by their digests.
    """

    engine: str
    """Its name, version, and a digest of the code that computes."""
    base: str
    """Fingerprint of the base: the commit of the hub, or a digest of its files."""
    adapter: str | None
    """Digest of the adapter's files; None for the base."""
    storage: str
    """Storage of the weights, as measured."""
    arithmetic: str
    """The compute dtype and the kind of device."""
    template: str
    """Digest of the chat template; `raw` where none is used."""
    prompt: str
    """The prompt as the model receives it."""
    prompt_id: str
    replicate: int
    seed: int
    settings: Mapping[str, str | int | float | bool | None]
    """The other generation settings, except the timeout."""
    versions: Mapping[str, str]
    """Versions of the libraries that compute."""


class Response(_OneResponse, frozen=True, kw_only=True):
    """One response of an arm to a prompt."""

    text: str
    """Without prompt and thinking, stripped, cut to `max_response_chars`."""
    thinking: str | None = None
    """Content of the closed `<think>` block; None without one, or when it is empty."""
    finish_reason: FinishReason
    prompt_tokens: int | None = None
    """None where a server does not count them."""
    new_tokens: int | None = None
    """None for an answer made elsewhere; so for `duration_s`."""
    duration_s: float | None = None
    """From the start of its batch, or the sending of its request, to its last token."""
    first_token_s: float | None = None
    cut_chars: int = 0
    """Number of characters that `max_response_chars` removed."""
    tool_calls: tuple[ToolCall, ...] | None = None
    """The calls in the uncut response; None when no tools were offered."""


class Failure(_OneResponse, frozen=True, kw_only=True):
    """A response or score that could not be made; never a score of 0."""

    stage: Stage
    reason: Note


class DeviceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one device, in bytes."""

    device: str
    """`GPU 0`, or `CPU` for this process."""
    allocated_bytes: int
    peak_bytes: int
    reserved_bytes: int | None
    total_bytes: int

    def __str__(self) -> str:
        """Return the reading as reports print it, in decimal gigabytes."""
        reserved = "" if self.reserved_bytes is None else f" / {self.reserved_bytes / 1e9:.1f}GB reserved"
        return f"{self.device}: {self.allocated_bytes / 1e9:.1f}GB{reserved} / {self.total_bytes / 1e9:.1f}GB total"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a call of `Engine.generate`."""

    responses_done: int
    responses_planned: int
    tokens: int
    """New tokens of all rows so far."""
    elapsed_s: float
    memory: tuple[DeviceMemory, ...] = ()
    """Recent readings; empty where the engine has none."""


class KindCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of one kind (experts, attention, embeddings, head, norms, other) by storage."""

    kind: str
    weights: Mapping[str, int]
    """Number of weights per storage: `nf4`, `bfloat16`, ..."""
    bytes: Mapping[str, int]


StorageFormat = Literal[
    "nf4", "nf4_single", "fp4", "fp4_single", "4bit", "16bit", "32bit", "checkpoint", "server", "none", "text"
]  # fmt: skip
"""`_single`: without double quantisation. checkpoint: quantised in its files, by `method`. server: not measured. none:
no weights. text: the sentence of an old report, in `method`."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Storage of the expert and linear weights, as measured."""

    format: StorageFormat
    share: float | None = None
    """Share of them in this format, to a thousandth, where it is not all."""
    method: str | None = None


class QuantizationCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Storage of the loaded model's weights, as measured."""

    storage: Storage
    share_4bit: float | None
    """Share of the expert and linear weights, without head and embeddings, in 4 bits; None when not requested."""
    kinds: tuple[KindCoverage, ...] = ()
    not_4bit: tuple[str, ...] = ()
    """Names of the expert and linear tensors that should be in 4 bits but are not."""


class AdapterProof(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that an adapter's weights act, gathered before scoring; None where the engine cannot measure it."""

    name: str
    source: str
    sha256: str | None = None
    rank: int | None = None
    targets: tuple[str, ...] = ()
    weights: int | None = None
    """Number of its weights."""
    max_logit_change: float | None = None
    """Largest difference of a logit between adapter on and off, over the probes."""
    base_unchanged: bool | None = None
    """Whether the logits with the adapter off equal the base's before it was attached, bit for bit."""
    max_base_drift: float | None = None
    """Largest difference of a logit between those two; 0.0 when unchanged."""
    live: bool
    max_logprob_change: float | None = None
    """Largest difference of a token's log-probability to the base's, over greedy responses to the probes."""
    max_logprob_drift: float | None = None
    """The same between two requests to the base."""
    texts_changed: int | None = None
    """Number of greedy responses to the probes that differ from the base's."""
    probes: int | None = None


class ServedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's model in the server's list."""

    arm: str
    name: str
    facts: Mapping[str, str] = {}
    """Its entry there: `owned_by`, `root`, `parent`, `max_model_len`."""


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The server's own description, and whether its sampling repeats."""

    base_url: str
    version: str | None
    models: tuple[ServedModel, ...]
    system_fingerprint: str | None
    repeats: Literal["always", "alone", "never"] | None
    """When a repeated request with the same seed gave the same text; `alone`: not beside other requests. None where it
    is unknown."""


class EngineDescription(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's description of itself, for the report."""

    engine: str
    base_model: str
    display_name: str
    """The model's name for readers; the demo's says that it is a demo."""
    is_demo: bool
    is_real: bool
    """False for an engine that makes its responses up; its reports say so."""
    device: str
    compute_dtype: str
    coverage: QuantizationCoverage
    adapters: tuple[AdapterProof, ...]
    batching: Literal["mixed", "two passes", "none", "server"]
    memory: tuple[DeviceMemory, ...] = ()
    """Current memory; the peak is since the load."""
    loaded_memory: tuple[DeviceMemory, ...] = ()
    """Memory after loading and proof; the peak is of the load."""
    versions: Mapping[str, str] = {}
    notes: tuple[Note, ...] = ()
    server: ServerFacts | None = None
    embedding: str | None = None
    """The model of the cosine's embeddings, where that is not the base."""


class EngineError(Exception):
    """An unusable model or adapter; the message is one sentence for the user."""


ProblemKind = Literal["full", "unwritable", "busy", "damaged", "other", "edited"]
"""edited: some responses are not as they were written, and are generated anew; any other ends the use of the store."""


class StoreProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run continues without its store."""

    kind: ProblemKind
    path: str
    reason: str
    """The system's message."""
