"""What is proved of logits before anything is scored, and what a family's forward is asked for them."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_jarvis.engines.transformers import proof
from pytest_jarvis.engines.transformers.generation import steps as steps_module
from pytest_jarvis.engines.transformers.generation.steps import filter_inputs
from pytest_jarvis.types import EngineError, Note

torch = pytest.importorskip("torch")

PROMPTS = [[1], [2]]
BASE = torch.tensor([[25.0, 0.0, -3.0], [0.0, 24.0, 1.0]])
ADAPTER = torch.tensor([[23.0, 0.5, -3.0], [0.0, 22.5, 1.0]])


def configured(**settings: Any) -> Any:
    """Return a model's configuration that states `settings`."""
    return SimpleNamespace(get_text_config=lambda **_: SimpleNamespace(**settings))


def trial(monkeypatch: pytest.MonkeyPatch, together: Any, adapter: Any = ADAPTER, *, live: bool = True) -> Any:
    """Return what is found when the mixed batch gives `together`: the base's rows, then the adapter's."""
    monkeypatch.setattr(proof, "last_logits", lambda *_, **__: together)
    model = SimpleNamespace(dtype=torch.bfloat16, modules=list, config=configured())
    apart = {"base": BASE, "ft": adapter}
    return proof.try_mixed(model, apart, PROMPTS, pad=0, live={"ft"} if live else set())


@pytest.mark.parametrize(
    ("base", "adapter", "found"),
    [
        (BASE + 0.1, ADAPTER + 0.1, None),
        (BASE, BASE, Note("mixed_adapter_off", {"name": "ft", "size": 2.0, "change": 2.0})),
        (BASE + 5, ADAPTER, Note("mixed_logits_differ", {"size": 5.0})),
        (BASE, ADAPTER * float("nan"), Note("mixed_not_finite")),
    ],
    ids=["right", "without the adapter", "far from separate passes", "not finite"],
)
def test_a_mixed_batch_works_where_it_gives_each_arm_its_logits(
    monkeypatch, base: Any, adapter: Any, found: Any
) -> None:
    assert found == trial(monkeypatch, torch.cat([base, adapter]))


def test_an_accepted_inert_adapter_does_not_stop_a_mixed_batch(monkeypatch) -> None:
    assert trial(monkeypatch, torch.cat([BASE, BASE + 0.01]), BASE.clone(), live=False) is None


def test_one_adapter_row_that_is_the_bases_does_not_work(monkeypatch) -> None:
    adapter = BASE + torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.4, 0.0]])
    found = trial(monkeypatch, torch.cat([BASE, adapter[:1], BASE[1:]]), adapter)
    assert Note("mixed_adapter_lost", {"name": "ft"}) == found


@pytest.mark.parametrize(
    ("rerouted", "moved", "expected"),
    [
        (False, [0.0, 0.0, 0.0, 5.0], 5.0),
        (True, [0.1, 5.0, 0.0, 0.2], 0.2),
        (True, [5.0, 0.1, 0.3, 4.0], 4.0),
        (True, [0.1, 0.3, 5.0], 5.0),
    ],
    ids=["exact", "one of four", "two of four", "one of three"],
)
def test_where_rows_may_be_rerouted_a_quarter_is_set_aside(rerouted: bool, moved: list[float], expected: float) -> None:
    rows = torch.zeros((len(moved), 3))
    found = rows.clone()
    found[:, 1] = torch.tensor(moved)
    assert proof.distance(found, rows, rerouted=rerouted) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("dtype", "settings", "expected"),
    [
        (torch.bfloat16, {"num_experts_per_tok": 8}, True),
        (torch.bfloat16, {"num_experts_per_tok": None}, False),
        (torch.bfloat16, {}, False),
        (torch.float32, {"num_experts_per_tok": 8}, False),
    ],
)
def test_only_mixtures_in_16_bits_may_reroute(dtype: Any, settings: dict[str, Any], expected: bool) -> None:
    assert proof.may_reroute(SimpleNamespace(config=configured(**settings), dtype=dtype)) is expected


@pytest.mark.parametrize(
    ("steps", "probes", "reason"),
    [
        ([2], [1], None),
        (range(6), [1], Note("logits_differ", {"size": 50.0})),
        (range(3, 6), range(4), Note("logits_differ", {"size": 50.0})),
    ],
    ids=["a row at a step", "one probe at every step", "all from a step on"],
)
def test_the_trial_of_steps_tells_a_rerouted_row_from_a_wrong_one(steps: Any, probes: Any, reason: Note | None) -> None:
    logits = torch.zeros((6, 8, 3))
    found = logits.clone()
    for step in steps:
        for probe in probes:
            found[step, 4 + probe] = 50.0
    said = steps_module._find_difference(
        list(zip(logits, found, strict=True)), arms=2, dtype=torch.bfloat16, rerouted=True
    )
    assert reason == said


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_distance_to_what_is_no_number_is_none(value: float) -> None:
    found = torch.zeros((8, 3))
    found[2, 2] = value
    distance = proof.distance(found, torch.zeros((8, 3)), rerouted=True)
    assert distance != distance  # noqa: PLR0124  # not a number


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("arm", "who"), [("base", "the base"), ("ft", "adapter 'ft'")])
def test_logits_that_are_not_finite_are_refused_with_their_arm(value: float, arm: str, who: str) -> None:
    logits = {"base": BASE, "ft": ADAPTER, arm: torch.full((2, 3), value)}
    with pytest.raises(EngineError, match=f"^m: {who} gives logits that are not finite.*damaged.*bfloat16.*'cpu'"):
        proof.refuse_not_finite("m", logits, dtype=torch.bfloat16)


def test_finite_logits_are_accepted() -> None:
    proof.refuse_not_finite("m", {"base": BASE, "ft": ADAPTER}, dtype=torch.bfloat16)


def test_a_model_already_in_32_bits_is_not_sent_to_the_cpu() -> None:
    with pytest.raises(EngineError, match=r"overflow in float32; compare its files with their source$"):
        proof.refuse_not_finite("m", {"base": BASE / 0}, dtype=torch.float32)


STEADY = proof.BatchInvariance(holds=True, largest_difference=0.0, row_token_s=0.0)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("dtype", "device", "holds", "expected"),
    [
        (torch.float32, CPU, True, 0.0),
        (torch.float32, CPU, False, 1e-4),
        (torch.float32, GPU, True, 1e-4),
        (torch.bfloat16, GPU, True, 1e-1),
    ],
)
def test_an_arm_may_move_by_what_its_device_rounds(dtype: Any, device: Any, holds: bool, expected: float) -> None:
    assert expected == proof.allowed_rounding(dtype, device, replace(STEADY, holds=holds))


@pytest.mark.parametrize(("by", "rounding", "stays"), [(0.0, 0.0, True), (2e-6, 0.0, False), (0.4, 2e-2, True)])
def test_an_adapter_that_moved_by_more_than_rounding_is_refused(by: float, rounding: float, stays: bool) -> None:
    refused = nullcontext() if stays else pytest.raises(EngineError, match="adapter 'a': its logits moved by up to")
    with refused:
        proof.refuse_moved_adapters({"a": BASE}, {"a": BASE + by}, rounding=rounding)


def test_a_base_that_moved_is_told_with_every_adapter() -> None:
    adapters: Any = [SimpleNamespace(name="a"), SimpleNamespace(name="b")]
    with pytest.raises(
        EngineError, match=r"^adapters 'a', 'b': with all of them off, the base's logits moved by up to"
    ):
        proof.refuse_moved_base(adapters, {"base": BASE + 1}, BASE, rounding=2e-2)


class Full:
    """A family whose forward takes both."""

    def forward(self, input_ids: Any, position_ids: Any = None, logits_to_keep: int = 0) -> None:
        """Take both."""


class Bare:
    """A family whose forward takes neither, and would raise for what it finds in `**others`."""

    def forward(self, input_ids: Any, **others: Any) -> None:
        """Take neither."""


@pytest.mark.parametrize(("family", "kept"), [(Full, {"position_ids": 1, "logits_to_keep": 1}), (Bare, {})])
def test_a_forward_is_given_only_what_it_names(family: type[Any], kept: dict[str, int]) -> None:
    assert kept == filter_inputs(family(), position_ids=1, logits_to_keep=1)
