"""What engines say in English, in French."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import pytest_jarvis
from pytest_jarvis.engines.scripted import ScriptedEngine
from pytest_jarvis.engines.transformers import engine, proof
from pytest_jarvis.engines.transformers.nf4.coverage import _label
from pytest_jarvis.render.french.notes import french_note, french_reason, french_storage
from pytest_jarvis.types import GenerationSettings, ModelSpec


def test_figures_and_names_of_a_note_are_kept() -> None:
    note = "the weights in 4 bits are also kept dequantised (17MB), with the same values, so that no step pays for it"
    assert french_note(note).startswith("les poids en 4 bits sont aussi gardés déquantifiés (17\u00a0Mo)")
    assert "«\u00a0v2\u00a0»" in french_note("adapter 'v2' changes nothing, and was accepted as asked")


APART = "base and adapter rows run in separate passes"


@pytest.mark.parametrize(
    "note",
    [
        "adapter 'v2' says that it was trained on '/a/b', and the base is the folder 'c': only the shapes of the",
        "adapter 'v2': this version of peft does not know use_new in its configuration",
        f"{APART}, because adapter 'v2' replaces a module of the base that another adapter does not replace",
    ],
)
def test_what_is_said_of_an_adapter_is_said_in_french(note: str) -> None:
    found = french_note(note)
    assert "«\u00a0v2\u00a0»" in found
    assert "adapter " not in found


def test_a_note_that_is_not_known_is_left_as_it_is() -> None:
    assert french_note("something new") == "something new"


@pytest.mark.parametrize("tokens", [0, 187])
@pytest.mark.parametrize(("holds", "exact"), [(True, True), (True, False), (False, True), (False, False)])
def test_what_the_engine_says_of_its_steadiness_is_known(holds: bool, exact: bool, tokens: int) -> None:
    found = proof.Steadiness(
        holds=holds,
        exact=exact,
        largest_difference=0.0 if holds else 0.25,
        row_token_s=0.0,
        tokens=tokens,
        other_tokens=tokens and 3,
    )
    said = french_note(found.note())
    assert said != found.note()
    assert ("187" in said and "3" in said) == (tokens > 0 and not (holds and exact)), said
    assert (holds and exact) == found.note().startswith("responses do not depend on their batch")


def test_what_the_scripted_engine_says_of_itself_is_known() -> None:
    (note,) = ScriptedEngine(ModelSpec(), GenerationSettings()).describe().notes
    assert french_note(note) != note


def reasons_in(tree: ast.AST) -> Iterator[str]:
    """Yield the reasons of failures that a module writes, with a 7 for each of their figures."""
    for node in ast.walk(tree):
        name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        if not isinstance(node, ast.Call) or name not in {"Failure", "_failure", "AttemptError"}:
            continue
        first = node.args[:1] if name == "AttemptError" else node.args[2:3]
        yield from written([keyword.value for keyword in node.keywords if keyword.arg == "reason"] or first)


def written(nodes: Iterable[ast.expr | None]) -> Iterator[str]:
    """Yield the strings that stand in a source, with a 7 for each of their values."""
    for one in nodes:
        if isinstance(one, ast.Constant):
            yield str(one.value)
        if isinstance(one, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in one.values)


def engine_reasons() -> list[str]:
    """Return the reasons of failures that the engines and the session write."""
    package = Path(pytest_jarvis.__file__).parent
    sources = [*package.glob("engines/**/*.py"), *package.glob("*.py")]
    return sorted({said for path in sources for said in reasons_in(ast.parse(path.read_text(encoding="utf-8")))})


def test_the_engines_give_reasons() -> None:
    assert len(engine_reasons()) >= 4


@pytest.mark.parametrize("reason", engine_reasons())
def test_every_reason_of_a_failure_has_its_french(reason: str) -> None:
    assert french_reason(reason) != reason


def transformers_notes() -> list[str]:
    """Return the notes that the engine writes in its own module, those of a GPU included."""
    tree = ast.parse(Path(engine.__file__).read_text(encoding="utf-8"))
    said = {note for node in ast.walk(tree) if isinstance(node, ast.Yield) for note in written([node.value])}
    return sorted(note for note in said if " " in note)


def test_the_transformers_engine_gives_notes() -> None:
    assert len(transformers_notes()) >= 8


@pytest.mark.parametrize("note", transformers_notes())
def test_every_note_of_the_transformers_engine_has_its_french(note: str) -> None:
    assert french_note(note) != note


def server_notes() -> list[str]:
    """Return what the engine that asks a server notes of itself."""
    source = Path(pytest_jarvis.__file__).parent / "engines" / "server" / "engine.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return list(written(node.value for node in ast.walk(tree) if isinstance(node, ast.Yield)))


def test_the_server_engine_gives_notes() -> None:
    assert len(server_notes()) >= 8


@pytest.mark.parametrize("note", server_notes())
def test_every_note_on_a_server_has_its_french(note: str) -> None:
    assert french_note(note) != note


def test_a_reason_tells_its_tries_in_french() -> None:
    said = french_reason("the connection was cut in the middle of the answer (after 4 tries)")
    assert said == "la connexion a été coupée au milieu de la réponse (4 essais)"


def test_a_server_that_is_silent_is_told_in_french() -> None:
    assert french_reason("the server did not answer within 600 s") == "le serveur n’a pas répondu en 600 s"


def test_why_a_server_gives_no_cosine_is_told_in_french() -> None:
    note = "the cosine is not measured: bge:m3 (/v1/embeddings): the server answered 404: no such model"
    expected = "la similarité cosinus n’est pas mesurée, faute de vecteurs de bge:m3 (/v1/embeddings)\u00a0: "
    assert french_note(note) == f"{expected}le serveur a répondu 404\u00a0: no such model"


def test_arms_that_a_server_mixes_up_are_told_in_french() -> None:
    fault = "beside 'lora' the log-probabilities of 'base' are off by 1.36, half or more of what tells them apart (1.4)"
    note = french_note(f"base and adapter rows run in separate passes, because {fault}")
    assert "les log-probabilités de «\u00a0base\u00a0» s’écartent de 1,36" in note


def test_figures_of_a_reason_are_written_as_french_has_them() -> None:
    said = french_reason("cut after 2.5 s at 12 tokens (finish reason: timeout)")
    assert said == "coupée après 2,5 s, à 12 tokens (délai dépassé)"


FAULT = "prompt 'cv-01', jarvis, response 3: "
IN_FRENCH = "\u00a0: prompt «\u00a0cv-01\u00a0», jarvis, réponse 3\u00a0: "


@pytest.mark.parametrize(
    ("reason", "french"),
    [
        (
            f"metric 'a': {FAULT}raised ValueError: 2.5 (x.py:3)",
            "métrique «\u00a0a\u00a0»{}a levé ValueError: 2.5 (x.py:3)",
        ),
        (
            f"metric 'a': {FAULT}expected a finite number, or None where it does not apply, found nan",
            "métrique «\u00a0a\u00a0»{}un nombre fini était attendu, ou None là où elle ne s’applique pas, et non nan",
        ),
        (
            f"pytest_jarvis_response_metrics: {FAULT}expected numbers by name, found 3",
            "pytest_jarvis_response_metrics{}des nombres par nom étaient attendus, et non 3",
        ),
        (
            f"pytest_jarvis_response_metrics: {FAULT}expected a name such as 'politesse', found 1",
            "pytest_jarvis_response_metrics{}un nom comme «\u00a0politesse\u00a0» était attendu, et non 1",
        ),
        (
            f"pytest_jarvis_response_metrics: {FAULT}'z' is the name of another metric",
            "pytest_jarvis_response_metrics{}«\u00a0z\u00a0» est le nom d’une autre métrique",
        ),
    ],
)
def test_what_a_metric_did_wrong_is_said_in_french(reason: str, french: str) -> None:
    assert french_reason(reason) == french.format(IN_FRENCH)


def test_a_reason_within_a_note_is_french_too() -> None:
    note = "base and adapter rows run in separate passes, because in one batch the logits are not finite"
    assert french_note(note).endswith("car\u00a0: dans un lot commun, les logits ne sont pas finis")


@pytest.mark.parametrize("share", [1.0, 0.9424])
@pytest.mark.parametrize("storages", [{"nf4"}, {"nf4", "float16"}])
def test_how_weights_are_stored_is_said_in_french(share: float, storages: set[str]) -> None:
    label = french_storage(_label(share, storages, prequantized=None))
    assert "quantisation" not in label
    assert ("94,2\u00a0% des poids" in label) == (share < 1)


@pytest.mark.parametrize("label", ["16 bits", "32 bits", "FP4"])
def test_a_storage_that_reads_alike_in_both_languages_stays(label: str) -> None:
    assert label == french_storage(label)
