"""Adapters: found on disk, checked against the base, attached to the same weights, never merged."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Final

from pytest_jarvis.discovery import ADAPTER_CONFIG, WEIGHT_FILES, files_digest, plain_name, targets_of
from pytest_jarvis.engines.transformers.arms import PEFT_BASE, peft_name, slice_rows, with_own_names
from pytest_jarvis.engines.transformers.readings import stand_ins
from pytest_jarvis.engines.transformers.sources import DEMO, Source
from pytest_jarvis.records import BASE_ARM, AdapterSpec, EngineError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_ATTACH_ERRORS: Final = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, UnpicklingError)
"""What peft and torch raise for files that do not fit; all of them end as one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """An adapter's folder, read and checked, before anything is attached."""

    name: str
    source: str
    folder: Path
    weights: Path
    config: Mapping[str, Any]
    sha256: str

    @property
    def rank(self) -> int | None:
        """The LoRA rank its configuration states."""
        rank = self.config.get("r")
        return rank if isinstance(rank, int) else None

    @property
    def targets(self) -> tuple[str, ...]:
        """What it adapts: module names, `all-linear`, or fused parameters, sorted."""
        return targets_of(self.config)


def read_adapter(spec: AdapterSpec) -> AdapterFiles:
    """Return the files of an adapter. Raises EngineError for a folder or a file that is missing or unreadable."""
    if spec.name in {BASE_ARM, PEFT_BASE} or "." in spec.name:
        raise EngineError(
            f"adapter {spec.name!r}: this name cannot be used; choose one without a dot, and not '{BASE_ARM}'"
        )
    folder = _folder(spec)
    config_file = folder / ADAPTER_CONFIG
    if not config_file.is_file():
        raise EngineError(f"adapter '{spec.name}': {spec.source} holds no {ADAPTER_CONFIG}")
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise EngineError(f"adapter '{spec.name}': {spec.source} holds none of {', '.join(WEIGHT_FILES)}")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise EngineError(f"adapter '{spec.name}': {config_file} is not readable JSON: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        found = config.get("peft_type") if isinstance(config, dict) else None
        raise EngineError(f"adapter '{spec.name}': its peft_type is {found!r}, this engine attaches LORA adapters only")
    return AdapterFiles(
        name=spec.name,
        source=spec.source,
        folder=folder,
        weights=weights,
        config=config,
        sha256=files_digest(config_file, weights),
    )


def refuse_changed(adapter: AdapterFiles) -> None:
    """Raise EngineError when the files of an attached adapter are no longer those whose digest was taken.

    A training that goes on writing would else have its answers stored under the digest of an older state.
    """
    try:
        same = files_digest(adapter.folder / ADAPTER_CONFIG, adapter.weights) == adapter.sha256
    except OSError:
        same = False
    if not same:
        raise EngineError(
            f"adapter '{adapter.name}': its files changed while they were loaded; wait until its training is done"
        )


def refuse_other_base(adapter: AdapterFiles, source: Source, model: PreTrainedModel) -> str | None:
    """Return a note when the adapter names another base than the folder loaded, None when it names the one loaded.

    Raises EngineError when it names another base and the names can be compared: the hub's, or the embedded one's. A
    folder may be called anything, so its name proves nothing; the shapes are checked when the adapter is attached.
    """
    stated = adapter.config.get("base_model_name_or_path")
    if not stated:
        return None
    expected = DEMO if source.is_demo else source.location
    known = {plain_name(expected), plain_name(str(getattr(model.config, "_name_or_path", "") or expected))}
    if source.is_demo:
        known = {DEMO}
    if plain_name(str(stated)) in known:
        return None
    if not source.is_demo and stated != DEMO and Path(source.location).is_dir():
        return (
            f"adapter '{adapter.name}' says that it was trained on {stated!r}, and the base is the folder "
            f"{source.display_name!r}: only the shapes of the weights were seen to agree"
        )
    raise EngineError(
        f"adapter '{adapter.name}': it was trained on {stated!r}, and the base here is {expected!r}; "
        "choose its own base, or, if they are the same, correct base_model_name_or_path in "
        f"{adapter.folder / ADAPTER_CONFIG}"
    )


def attach(model: PreTrainedModel, adapters: list[AdapterFiles]) -> PeftModel:
    """Return `model` with every adapter attached by name, frozen, in evaluation mode; none is merged.

    Raises EngineError naming the keys when an adapter's file and its configuration do not agree, or when its shapes are
    not those of this base.
    """
    import warnings

    from peft import LoraConfig, PeftModelForCausalLM
    from peft.tuners.lora.layer import ParamWrapper

    peft_model: PeftModel | None = None
    for adapter in adapters:
        name = peft_name(adapter.name)
        try:
            with warnings.catch_warnings(), stand_ins(model):
                # peft's advice about conversions and tied weights; what it warns of is checked on keys and logits.
                warnings.simplefilter("ignore")
                if peft_model is None:
                    config = LoraConfig.from_pretrained(str(adapter.folder))
                    config.inference_mode = True
                    peft_model = PeftModelForCausalLM(model, config, adapter_name=name)
                outcome = peft_model.load_adapter(str(adapter.folder), name, torch_device=str(model.device))
        except _ATTACH_ERRORS as error:
            raise EngineError(
                f"adapter '{adapter.name}': it cannot be attached to this base: {_brief(error)}"
            ) from error
        # peft lists a key as missing when it holds the adapter's name anywhere, `lora_A.other` for an adapter `a`.
        own = re.compile(rf"\.{re.escape(name)}(\.|$)")
        missing = [key for key in outcome.missing_keys if own.search(key)]
        _refuse_keys(adapter, missing=missing, unexpected=list(outcome.unexpected_keys))
    if peft_model is None:
        raise ValueError("attach needs at least one adapter")
    for module in peft_model.modules():
        if isinstance(module, ParamWrapper):
            module.__class__ = _wrapper_class()
    slice_rows(peft_model)
    peft_model.eval()
    peft_model.requires_grad_(requires_grad=False)
    return peft_model


@functools.cache
def _wrapper_class() -> type[Any]:
    """Return a class for adapted parameters that may be in 4 bits; made on demand, its base is peft's."""
    from peft.tuners.lora.layer import ParamWrapper

    class FourBitParamWrapper(ParamWrapper):  # type: ignore[misc]  # the base is untyped
        """peft's wrapper of an adapted parameter, right for a parameter in 4 bits too.

        peft 0.21 puts its product behind the reading of the 4 bits for a forward pass. Of two parameters of a module it
        reads the second before its product is there, and uses that; afterwards it looks for the products under another
        class's name and leaves them all on. Here the reading itself adds the product. Not needed any more once
        `test_logits_are_those_of_weights_merged_by_hand[fused experts-nf4]` passes without it.
        """

        def _reading(self) -> Any:
            """Return what reads the parameter's 4 bits, or None for a plain one."""
            entries = getattr(self.get_base_layer(), "parametrizations", {})
            return entries[self.parameter_name][0] if self.parameter_name in entries else None

        def get_param(self) -> Any:
            """Return the parameter; for one in 4 bits, a blank of its shape, since only that is asked for here."""
            reading = self._reading()
            return super().get_param() if reading is None else reading.blank()

        @contextmanager
        def _activate_lora(self, active_adapters: list[str]) -> Iterator[None]:
            reading = self._reading()
            if reading is None:
                with super()._activate_lora(active_adapters):
                    yield
                return
            reading.stays_packed = False
            reading.products = tuple(self.get_delta_factors(name) for name in active_adapters if name in self.lora_A)
            try:
                yield
            finally:
                reading.products = ()

    return FourBitParamWrapper


def _folder(spec: AdapterSpec) -> Path:
    """Return the folder of an adapter's files."""
    if spec.source.startswith(f"{DEMO}:"):
        from pytest_jarvis.demo import ADAPTERS, adapter_path

        wanted = spec.source.removeprefix(f"{DEMO}:")
        try:
            folder = Path(adapter_path(wanted))
        except (KeyError, ValueError, OSError) as error:
            known = ", ".join(f"{DEMO}:{name}" for name in ADAPTERS)
            raise EngineError(
                f"adapter '{spec.name}': there is no embedded adapter {wanted!r}; known: {known}"
            ) from error
    else:
        folder = Path(spec.source).expanduser()
    if not folder.is_dir():
        raise EngineError(
            f"adapter '{spec.name}': no such folder: {spec.source}; pytest-jarvis adapters lists those that are there"
        )
    return folder


def _refuse_keys(adapter: AdapterFiles, *, missing: list[str], unexpected: list[str]) -> None:
    """Raise EngineError for weights that the file lacks or that the model has no place for."""
    for found, what in ((missing, "its file lacks"), (unexpected, "the model has no place for")):
        if found:
            shown = with_own_names(", ".join(sorted(found)[:3]))
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise EngineError(f"adapter '{adapter.name}': {what} {len(found)} of its weights: {shown}{more}")


def _brief(error: BaseException) -> str:
    """Return an exception's message on one line, shortened."""
    return with_own_names(" ".join(str(error).split()))[:300] or type(error).__name__
