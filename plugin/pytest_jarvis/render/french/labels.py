"""Titles, heads and short labels of reports, and the words of the page's script."""

from collections.abc import Sequence
from typing import Final

from pytest_jarvis.inputs.config import DEMO
from pytest_jarvis.render.french.formats import DASH, NBSP, number, percent, plural, printable, shorten, signed, typeset
from pytest_jarvis.render.french.metrics import digits_of_noise, find_spec, label_of
from pytest_jarvis.render.french.words import table, word
from pytest_jarvis.report.schema import Controls, Report
from pytest_jarvis.stats.ranking import NoiseFloor
from pytest_jarvis.types import ANSWERS, TWIN_ARM, AdapterProof, EngineDescription, ServerFacts, Storage

CHANGE_HEADS: Final = ("Cas", "Prompt", "Pertinence", "Écart")


def tuned_arm(report: Report) -> str:
    """Return the name of the arm beside the base: in an A/A run, the twin."""
    return TWIN_ARM if TWIN_ARM in report.metadata.adapters else word("labels.tuned")


def cautions(report: Report) -> list[str]:
    """Return what to know before any number: a scripted engine, missing responses, a partial selection."""
    return [
        *fake_caution(report),
        *([] if report.complete else [word("labels.incomplete")]),
        *([] if report.metadata.full_selection else [word("labels.partial")]),
    ]


def fake_caution(report: Report) -> list[str]:
    """Return the caution on responses of a script, or of a file; empty where a model gave them."""
    if report.metadata.is_real:
        return []
    return [word("labels.given_answers") if report.metadata.engine == ANSWERS else word("labels.fake_engine")]


def model_label(engine: EngineDescription) -> str:
    """Return the label of the model; never a model's name for a scripted engine, or for answers made elsewhere."""
    if not engine.is_real:
        return word("labels.unknown_model") if engine.engine == ANSWERS else word("labels.fake_model")
    return word("labels.demo_model") if engine.is_demo else engine.display_name


def model_named(name: str) -> str:
    """Return the label of a model by its configured name, before it is loaded."""
    return word("labels.demo_model") if name == DEMO else name


def storage(found: Storage, nothing: str = DASH) -> str:
    """Return the storage of the weights; `nothing` where there are none."""
    label = table("labels.storages")[found.format].format(method=found.method) or nothing
    if found.share is None:
        return label
    return typeset(f"{label}, partiel : {percent(found.share)} des poids d’experts et linéaires")


def compute_dtype(name: str) -> str:
    """Return the type of the arithmetic; empty without a model."""
    return "" if name == "none" else table("labels.storages")["server"] if name == "server" else name


def device(name: str) -> str:
    """Return the device; « aucun » without a model."""
    return word("labels.none") if name == "none" else "serveur" if name == "server" else name


def noise_cells(name: str, floor: NoiseFloor) -> tuple[str, str, str, str]:
    """Return the name of a metric, its difference in an A/A run, its noise floor, and that relative to the mean."""
    digits = digits_of_noise(name)
    return (
        label_of(find_spec(name)),
        signed(floor.difference.difference, digits),
        f"± {number(floor.floor, digits)}",
        f"± {percent(floor.relative_floor)}",
    )


def quotation(text: str) -> str:
    return f"«{NBSP}{text}{NBSP}»"


def drop(change: str, p_value: float | None) -> str:
    """Return a change and, where it is a proven drop, its p-value."""
    if p_value is None:
        return change
    return f"{change}, p{NBSP}={NBSP}{number(p_value, 4)}".replace(f"={NBSP}0,0000", f"<{NBSP}0,0001")


def constant_sentence(controls: Controls) -> str:
    text, drawn = shorten(printable(controls.constant_text), 80), controls.constants_drawn
    return word("labels.constant", text=text, tried=controls.constants_tried, drawn=drawn)


def looks(counts: Sequence[int]) -> str:
    """Return « 4 réponses », or « 4, 8 puis 16 réponses »."""
    first, last = counts[:-1], plural(counts[-1], "réponse")
    return f"{', '.join(map(str, first))} puis {last}" if first else last


def short_digest(digest: str | None, length: int = 16) -> str:
    """Return the first `length` digits of a digest; empty for None."""
    if digest is None:
        return ""
    return digest if len(digest) <= length else f"{digest[:length]}…"


def server_sentence(server: ServerFacts) -> str:
    parts = [server.base_url]
    if server.version is not None:
        parts.append(f"version {server.version}")
    if server.system_fingerprint is not None:
        parts.append(server.system_fingerprint)
    return ", ".join([*parts, table("labels.repeats")[server.repeats or "unseen"]])


def served_sentence(server: ServerFacts) -> str:
    """Return the name of each arm on the server, with the facts of the server's list."""
    return typeset(" ; ").join(
        typeset(f"{model.arm} : {model.name}") + "".join(f", {name} {value}" for name, value in model.facts.items())
        for model in server.models
    )


def adapter_effect(adapter: AdapterProof) -> str:
    """Return the measured effect of an adapter; empty where neither logits nor texts were compared."""
    change, drift = adapter.max_logprob_change, adapter.max_logprob_drift
    if adapter.max_logit_change is not None:
        code = "labels.logits_changed" if adapter.base_unchanged else "labels.base_changed"
        return word(code, change=adapter.max_logit_change)
    if adapter.probes is None:
        return ""
    seen = word("labels.texts_changed", changed=adapter.texts_changed, probes=adapter.probes)
    return seen if change is None or drift is None else seen + word("labels.logprobs", change=change, drift=drift)


def span(lowest: int, highest: int) -> str:
    """Return « 4 », or « 2 à 4 »."""
    return str(highest) if lowest == highest else f"{lowest} à {highest}"


def key_gain(look: str, *, several: bool) -> str:
    """Return the label of the gain, with « à 4 réponses » of an early verdict; short before a name."""
    return f"Gain{look}" if look and several else f"{word('page.key_gain')}{look}"


def script_words(tuned: str) -> dict[str, object]:
    """Return the words of the script; a pair is a singular and a plural. `tuned` is the name of the other arm."""
    return {
        **{key: text.split("|") if "|" in text else text for key, text in table("page.script").items()},
        "keywordFound": table("page.script")["keywordFound"].replace("{tuned_arm}", tuned),
        "dash": DASH,
        "base": word("page.base"),
        "leaked": word("explanations.badge"),
        "deeds": table("labels.criteria")["deeds"],
    }
