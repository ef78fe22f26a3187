"""Vectors for the cosine of a server's answers: what an encoder on this machine says when it cannot be loaded."""

import importlib.metadata
import sys
from types import ModuleType

import pytest

from pytest_jarvis.engines.server.connection import AttemptError
from pytest_jarvis.engines.server.embeddings import LocalEncoder


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(), "OSError"), (ValueError("\n"), "ValueError"), (OSError("no weights\nat all"), "no weights")],
    ids=["no message", "an empty line", "two lines"],
)
def test_an_encoder_that_cannot_be_loaded_says_why_in_one_line(monkeypatch, error: Exception, reason: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1")
    with pytest.raises(AttemptError) as refused:
        LocalEncoder("small").embed(["oui"])
    assert str(refused.value) == f"small cannot be loaded: {reason}"
