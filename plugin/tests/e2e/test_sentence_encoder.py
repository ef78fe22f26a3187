"""A sentence encoder on this machine makes the cosine of answers that a server gave."""

import numpy as np
import pytest

from pytest_jarvis.demo import base_path
from pytest_jarvis.engines.server.connection import AttemptError
from pytest_jarvis.engines.server.embeddings import LocalEncoder, choose_embedder
from pytest_jarvis.types import EngineError, ModelSpec


def find(model: str) -> LocalEncoder:
    # No connection: an encoder on this machine asks nobody.
    found = choose_embedder(ModelSpec(base_url="http://h/v1", embedding_model=model), None)  # type: ignore[arg-type]
    assert isinstance(found, LocalEncoder)
    return found


def test_an_encoder_in_a_folder_gives_vectors_of_texts_and_its_name(tmp_path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    words = Transformer(str(base_path()))
    SentenceTransformer(modules=[words, Pooling(words.get_embedding_dimension())]).save(str(tmp_path))
    encoder = find(f"local:{tmp_path}")
    one, same, other = encoder.embed(["ouvre chrome", "ouvre chrome", "plus un bruit"])
    assert one.shape == (256,)
    np.testing.assert_allclose(one, same, rtol=1e-5)
    assert not np.allclose(one, other, rtol=1e-2)
    assert encoder.label.startswith(f"{tmp_path} (sentence-transformers ")


def test_a_folder_that_holds_no_encoder_is_told_when_it_is_asked(tmp_path) -> None:
    with pytest.raises(AttemptError, match="cannot be loaded"):
        find(f"local:{tmp_path}").embed(["oui"])


@pytest.mark.parametrize("name", ["nobody/nothing", "not a name at all", "/no/such/folder"])
def test_an_encoder_that_is_not_on_this_machine_is_refused_without_a_download(name: str) -> None:
    with pytest.raises(EngineError, match="no such folder, and no such model in the cache"):
        find(f"local:{name}")
