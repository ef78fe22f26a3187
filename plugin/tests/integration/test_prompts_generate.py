"""`pytest-jarvis prompts generate`: a category of misheard prompts."""

import tomllib

import pytest

from pytest_jarvis.cli import main
from pytest_jarvis.inputs.prompts import load_prompts

GENERATE = ("prompts", "generate", "--from", "commandes", "--n", "12", "--seed", "1")


def test_what_is_generated_is_a_category_that_runs(project, capsys) -> None:
    out = project.prompts / "entendues.toml"
    assert main([*GENERATE, "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    cases = [case for case in load_prompts(project.prompts).cases if case.category == "entendues"]
    clean = {case.text: case for case in load_prompts(project.prompts).cases if case.category == "commandes"}
    assert 12 == len(cases)
    for case in cases:
        assert case.intended is not None
        source = clean[case.intended]
        assert (source.keywords, source.expected_tool) == (case.keywords, case.expected_tool)
    project.run("-k", "entendues").assert_outcomes(passed=12, deselected=3)


def test_what_is_expected_of_a_call_is_carried_over(project) -> None:
    with (project.prompts / "tools.toml").open("a", encoding="utf-8") as tools:
        tools.write(
            '\n[[tools]]\nname = "sound_tool"\ndescription = "Le son."\nterms = ["volume"]\n'
            'parameters = { type = "object", properties = { "à fond" = {}, b = { type = "number" } } }\n'
        )
    (project.prompts / "appels.toml").write_text(
        '[[prompts]]\nid = "a-1"\ntext = "coupe le son"\nkeywords = ["coupe", "son"]\nexpected_tool = "sound_tool"\n'
        'expected_arguments = { "à fond" = ["oui", 1, true], b = 2.5 }\n\n'
        '[[prompts]]\nid = "a-2"\ntext = "quelle heure"\nkeywords = ["quelle", "heure"]\nno_tool = true\n',
        encoding="utf-8",
    )
    out = project.prompts / "entendus.toml"
    assert main(["prompts", "generate", "--from", "appels", "--n", "4", "--out", str(out)]) == 0
    cases = [case for case in load_prompts(project.prompts).cases if case.category == "entendus"]
    assert {(case.no_tool, str(case.expected_arguments)) for case in cases} == {
        (False, "{'à fond': ['oui', 1, True], 'b': 2.5}"),
        (True, "None"),
    }


def test_it_is_printed_and_the_same_for_the_same_seed(project, capsys) -> None:
    outputs = []
    for seed in ("1", "1", "2"):
        assert main(["prompts", "generate", "--from", "commandes", "--n", "5", "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]
    assert 5 == len(tomllib.loads(outputs[0])["prompts"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--from", "comandes"), "--from: no file 'comandes.toml' in jarvis_prompts; did you mean 'commandes'?"),
        (("--from", "commandes", "--n", "9999"), "--n: 9999 asked for, the rules make "),
        (("--from", "commandes", "--n", "0"), "argument --n: expected a whole number from 1, found '0'"),
        (("--from", "commandes", "--seed", "-1"), "argument --seed: expected a whole number from 0, found '-1'"),
        (("--from", "commandes", "--n", "2", "--out", "jarvis_prompts/questions.toml"), "is there already; name a new"),
        (("--from", "commandes", "--n", "2", "--out", "x.json"), "is no new file NAME.toml in a folder that exists"),
        (("--from", "commandes", "--n", "2", "--out", "à b.toml"), "what would be generated is no category of"),
        (("--from", "commandes", "--prompts", "absent"), "absent: there is no such folder of prompts"),
    ],
)
def test_what_cannot_be_generated_is_one_sentence(project, refused, arguments: tuple[str, ...], sentence: str) -> None:
    before = sorted(project.folder.rglob("*"))
    assert sentence in refused("prompts", "generate", *arguments)
    assert sorted(project.folder.rglob("*")) == before


def test_a_second_generation_with_another_seed_makes_others(project) -> None:
    first, second = (project.prompts / f"entendues_{number}.toml" for number in (1, 2))
    assert main([*GENERATE, "--out", str(first)]) == 0
    assert main([*GENERATE[:-1], "2", "--out", str(second)]) == 0
    texts = [entry["text"] for path in (first, second) for entry in tomllib.loads(path.read_text("utf-8"))["prompts"]]
    assert 24 == len(set(texts))


def test_a_file_that_cannot_be_written_is_one_sentence(project, monkeypatch, refused) -> None:
    def full(path: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_jarvis.cli.prompts.write_atomically", full)
    said = refused(*GENERATE, "--out", project.prompts / "entendues.toml")
    assert "entendues.toml: cannot be written: No space left on device" in said
