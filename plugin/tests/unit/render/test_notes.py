"""What engines and runs note as codes, in French."""

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

import pytest_jarvis
from pytest_jarvis.render.french.formats import NBSP
from pytest_jarvis.render.french.labels import storage as storage_label
from pytest_jarvis.render.french.notes import NOTES, WRITTEN, french_note
from pytest_jarvis.types import _ENGLISH, Note, NoteCode, Storage, text_note


def test_every_code_has_its_french() -> None:
    assert set(get_args(NoteCode)) == NOTES.keys() | WRITTEN.keys()
    assert NOTES.keys() & WRITTEN.keys() == set()


def fields_of(template: str) -> set[str]:
    """Return the values that a template wants."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def written_notes() -> Iterator[tuple[str, set[str]]]:
    """Yield the code and the names of the values of each note that the package writes out."""
    for path in Path(pytest_jarvis.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Note":
                continue
            code, *rest = [*node.args, *(one.value for one in node.keywords)]
            keys = [key for one in rest if isinstance(one, ast.Dict) for key in one.keys]
            names = {key.value for key in keys if isinstance(key, ast.Constant)}
            has_cause = len(node.args) > 2 or any(one.arg == "cause" for one in node.keywords)
            if isinstance(code, ast.Constant) and all(isinstance(one, ast.Dict) for one in node.args[1:2]):
                yield code.value, names | ({"cause"} if has_cause else set())


@pytest.mark.parametrize("templates", [NOTES, _ENGLISH], ids=["french", "english"])
def test_templates_want_the_values_that_notes_have(templates: dict[NoteCode, str]) -> None:
    # Where a fault happened is added where it is raised.
    asked = [(code, names) for code, names in written_notes() if code in templates and not code.endswith("_fault")]
    assert len(asked) > 20
    wrong = [(code, names) for code, names in asked if fields_of(templates[code]) - names]
    assert wrong == []


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (text_note("as it is : {x}"), "as it is : {x}"),
        (Note("cut_in_time", {"seconds": 2.5, "tokens": 12}), "coupée après 2,5 s, à 12 tokens (délai dépassé)"),
        (
            Note("after_tries", {"tries": 4}, Note("server_status", {"status": 404, "said": "no such model"})),
            "le serveur a répondu 404 : no such model (4 essais)",
        ),
        (
            Note("steps_not_recorded", cause=text_note("RuntimeError: 2.5 kernels")),
            "chaque étape est lancée noyau par noyau, sans graphe CUDA, car : RuntimeError: 2.5 kernels",
        ),
        (
            Note("metric_fault", {"metric": "a", "prompt": "cv-01", "arm": "v2", "number": 3}, Note("raised")),
            "métrique « a » : prompt « cv-01 », v2, réponse 3 : a levé ?",
        ),
        (Note("base_moved", {"name": "v2", "size": 0.0001234}), "de 0,000123 au plus"),
        (
            Note("several_processes", {"workers": 2, "samples": 8}),
            "2 processus (pytest-xdist), chacun ses prompts : 8 réponses par prompt et par bras",
        ),
        (Note("several_processes"), "several_processes"),
    ],
)
def test_a_note_is_said_with_its_values_and_its_cause(note: Note, expected: str) -> None:
    assert expected in french_note(note).replace(NBSP, " ")


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        (Storage(format="nf4"), "NF4 (double quantification)"),
        (Storage(format="nf4", share=0.942), "NF4 (double quantification), partiel : 94,2 % des poids d’experts"),
        (Storage(format="checkpoint", method="gptq"), "quantifié par ses fichiers (gptq)"),
        (Storage(format="16bit"), "16 bits"),
        (Storage(format="none"), ""),
    ],
)
def test_how_weights_are_stored_is_said_in_french(storage: Storage, expected: str) -> None:
    assert storage_label(storage, "").replace(NBSP, " ").startswith(expected)
