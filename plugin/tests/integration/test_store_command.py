"""`pytest-jarvis store stats|prune|clear`."""

import io
import os
import time
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from samples import IDENTITY, response

from pytest_jarvis.cli import main
from pytest_jarvis.run.store import ArmLabels, ResponseStore

STORE = Path(".jarvis") / "responses.sqlite"


class Terminal(io.StringIO):
    """A standard input behind which someone sits."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def filled(here) -> Path:
    """The store of this folder: ten responses of the base, ten of an adapter, half of them forty days old."""
    with closing(ResponseStore(STORE)) as store:
        for number in range(20):
            identity = replace(IDENTITY, adapter=IDENTITY.adapter if number % 2 else None, prompt_id=f"p{number}")
            answer = response("a", prompt_id=f"p{number}", text="d'accord " * 100)
            store.add(identity, answer, ArmLabels(base="demo", adapter="jarvis (demo:jarvis)" if number % 2 else None))
        store._connection.execute(
            "UPDATE responses SET written_at = ? WHERE CAST(substr(prompt_id, 2) AS INTEGER) < 10",
            (time.time() - 40 * 86_400,),
        )
    return here / STORE


def left() -> int:
    with closing(ResponseStore(STORE)) as store:
        return store.stats().responses


def test_stats_count_the_answers_of_the_base_itself_and_of_each_adapter(filled, capsys) -> None:
    before = filled.read_bytes()
    assert main(["store", "stats"]) == 0
    said = capsys.readouterr().out.replace("\xa0", " ").splitlines()
    assert said[0] == f"Magasin de réponses {STORE}"
    assert said[1].startswith("  20 réponses, 0 vecteur, ")
    assert said[2].startswith("  de 20")
    assert said[3:] == [
        "  base demo [0123456789ab] : 10 réponses",
        "  adaptateur jarvis (demo:jarvis) [fedcba987654] : 10 réponses",
    ]
    assert before == filled.read_bytes()


@pytest.mark.parametrize("command", [["stats"], ["prune", "--older-than", "1d"], ["clear"]])
def test_where_there_is_no_store_nothing_is_made(here, command: list[str], capsys) -> None:
    assert main(["store", *command]) == 0
    assert "aucun pour l’instant" in capsys.readouterr().out
    assert list(here.iterdir()) == []


def test_pruning_by_age(filled, capsys) -> None:
    assert main(["store", "prune", "--older-than", "30d"]) == 0
    said = capsys.readouterr().out.replace("\xa0", " ")
    assert said.startswith("10 réponses effacées ; il en reste 10 (")
    assert left() == 10


def test_pruning_by_size(filled) -> None:
    with closing(ResponseStore(STORE)) as store:
        store._shrink()
    wanted = filled.stat().st_size - 9000
    assert main(["store", "prune", "--max-size", f"{wanted}B"]) == 0
    assert 0 < left() < 20
    assert filled.stat().st_size <= wanted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "store prune: nothing to delete by; give --older-than AGE, --max-size SIZE or both"),
        (["--older-than", "soon"], "argument --older-than: expected an age such as 12h, 30d or 8w, found 'soon'"),
        (["--older-than", "30"], "expected an age such as 12h, 30d or 8w, found '30'"),
        (["--max-size", "-1MB"], "--max-size"),
        (["--max-size", "3 apples"], "expected a size such as 500MB or 2GB, found '3 apples'"),
    ],
)
def test_what_cannot_be_pruned_by_is_one_sentence(filled, arguments: list[str], said: str, refused) -> None:
    assert said in refused("store", "prune", *arguments)
    assert left() == 20


@pytest.mark.parametrize(("text", "removed"), [("39,5d", 10), ("6w", 0), ("900h", 10), ("40000m", 10)])
def test_ages_have_units(filled, text: str, removed: int) -> None:
    assert main(["store", "prune", "--older-than", text]) == 0
    assert left() == 20 - removed


def test_clearing_with_yes(filled, capsys) -> None:
    assert main(["store", "clear", "--yes"]) == 0
    assert capsys.readouterr().out.replace("\xa0", " ") == "20 réponses effacées.\n"
    assert left() == 0


@pytest.mark.parametrize(("answer", "status", "rest"), [("o\n", 0, 0), ("Oui\n", 0, 0), ("n\n", 1, 20), ("", 1, 20)])
def test_clearing_asks_on_a_terminal(filled, answer: str, status: int, rest: int, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert status == main(["store", "clear"])
    assert left() == rest


def test_clearing_without_a_terminal_wants_a_yes(filled, refused, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("o\n"))
    assert "store clear: would delete 20 responses of" in refused("store", "clear")
    assert left() == 20


@pytest.mark.parametrize("command", [["stats"], ["prune", "--older-than", "1d"], ["clear", "--yes"]])
def test_a_foreign_file_is_refused_and_left_as_it_is(here, command: list[str], refused) -> None:
    (here / "a.txt").write_text("bonjour", encoding="utf-8")
    said = refused("store", *command, "--store", "a.txt")
    assert "a.txt: not a store of responses of pytest-jarvis" in said
    assert (here / "a.txt").read_text(encoding="utf-8") == "bonjour"


def test_a_named_store_that_is_not_there_is_refused(here, refused) -> None:
    assert "--store b.sqlite: no such file" in refused("store", "stats", "--store", "b.sqlite")


def test_the_configuration_says_where_the_store_is(filled, capsys) -> None:
    os.replace(filled, "ailleurs.sqlite")  # noqa: PTH105  # a move
    Path("benchmark_config.json").write_text('{"output": {"store": "ailleurs.sqlite"}}', encoding="utf-8")
    assert main(["store", "stats"]) == 0
    assert capsys.readouterr().out.startswith("Magasin de réponses ailleurs.sqlite")


def test_a_store_that_fails_is_one_sentence(filled, refused, monkeypatch) -> None:
    def fail(_: ResponseStore) -> int:
        raise OSError("disk I/O error")

    monkeypatch.setattr(ResponseStore, "stats", fail)
    assert "the store of responses cannot be used now: disk I/O error" in refused("store", "stats")
