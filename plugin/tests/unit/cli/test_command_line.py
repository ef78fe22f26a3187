"""What the commands say of words they do not know."""

import pytest

from pytest_jarvis import cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek"], "; did you mean 'check'?\n"),
        (["compar", "a", "b"], "; did you mean 'compare'?\n"),
        (["config", "shw"], "; did you mean 'show'?\n"),
        (["zzz"], "; see pytest-jarvis --help\n"),
    ],
)
def test_an_unknown_command_is_told_the_nearest_in_one_line(capsys, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    error = capsys.readouterr().err
    assert 4 == ended.value.code
    assert (True, 1) == (error.endswith(said), error.count("\n")), error
