"""Prompts found in training data, in French: where they stand, and the verdict without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pytest_jarvis.inputs.contamination import Contamination, Kind
from pytest_jarvis.render.french.formats import count_of, percent, plural, printable, typeset
from pytest_jarvis.render.french.verdicts import is_judged, verdict_line
from pytest_jarvis.report.schema import JudgedContamination, Report

KINDS: Final[Mapping[Kind, str]] = {
    "exact": "copie",
    "contained": "copie dans un texte plus long",
    "near": "presque une copie",
}
BADGE: Final = "Vu à l’entraînement"
_MOST_NAMES: Final = 12
_MOST_PLACES: Final = 5
_LONGEST_TEXT: Final = 90


def contamination_notes(report: Report) -> list[str]:
    """Return what training data holds of the prompts, and the verdict without those; nothing when none was named."""
    found = report.contamination
    if found is None:
        return []
    return [" ".join(typeset(sentence) for sentence in (_counted(found), *_without(report, found)))]


def _counted(found: Contamination) -> str:
    files = ", ".join(printable(file) for file in found.files)
    if not found.leaks:
        return f"Données d’entraînement ({files}) : aucun des {plural(found.prompts, 'prompt')} n’y est."
    names = ", ".join(list(found.leaks)[:_MOST_NAMES])
    more = "…" if len(found.leaks) > _MOST_NAMES else ""
    verb = "sont" if len(found.leaks) > 1 else "est"
    many = f"{plural(len(found.leaks), 'prompt')} sur {count_of(found.prompts)} {verb}"
    return f"Contamination : {many} dans les données d’entraînement ({files}) : {names}{more}."


def _without(report: Report, found: JudgedContamination) -> Iterator[str]:
    """Yield the verdict of each adapter without the prompts that were found; the exit status is that with them."""
    if not found.leaks or report.noise_floor:
        return
    them = "Sans eux" if len(found.leaks) > 1 else "Sans lui"
    if not found.decisions:
        yield f"{them}, aucun verdict : il ne reste rien à comparer."
        return
    plan = report.metadata.plan
    several = len(report.metadata.adapters) > 1
    for name, decision in found.decisions.items():
        named = f", {printable(name)}" if several else ""
        said = verdict_line(decision, plan.looks[-1], plan.alpha, judged=is_judged(report))
        yield f"{them}{named} : {said}."
    yield "Le code de sortie reste celui de tous les prompts."


def leak_lines(found: Contamination, texts: Mapping[str, str]) -> list[str]:
    """Return each prompt found with the places it was found at, then how many; `texts` are the prompts by id."""
    lines: list[str] = []
    for prompt_id, leaks in found.leaks.items():
        places = plural(found.counts[prompt_id], "fois", "fois")
        lines.append(typeset(f"✗ {prompt_id} « {printable(texts[prompt_id])} » : {places}"))
        for leak in leaks[:_MOST_PLACES]:
            how = KINDS[leak.kind] + ("" if leak.similarity == 1 else f", {percent(leak.similarity, 0)}")
            text = printable(leak.text)
            shown = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
            lines.append(f"    {printable(leak.file)}:{leak.line}: {typeset(f'{how} : « {shown} »')}")
        left = found.counts[prompt_id] - min(len(leaks), _MOST_PLACES)
        if left:
            lines.append(f"    … et {count_of(left)} de plus")
    looked = f"{plural(found.texts, 'texte')} d’entraînement"
    if not found.leaks:
        return [typeset(f"✓ Aucun des {plural(found.prompts, 'prompt')} n’est dans {looked}.")]
    verb = "sont" if len(found.leaks) > 1 else "est"
    counted = f"{plural(len(found.leaks), 'prompt')} sur {count_of(found.prompts)} {verb} dans {looked}."
    return [*lines, typeset(counted)]
