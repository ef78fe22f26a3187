"""Embeddings for the cosine: from the server's `/v1/embeddings`, from a local encoder, or none."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from pytest_jarvis.engines.base import Vector
from pytest_jarvis.engines.server.connection import (
    ADVICE_ON_SILENCE,
    BROKEN,
    EMBEDDING_KEY_VARIABLE,
    SILENCE_S,
    AttemptError,
    Connection,
    is_same_origin,
    time_limit,
)
from pytest_jarvis.types import EngineError, ModelSpec, Note

LOCAL: Final = "local:"
"""Prefix for an encoder of sentence-transformers: a folder, or a hub id that is in the cache."""
DEFAULT_ENCODER: Final = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
"""Used when no model is configured and this one is in the cache: small, and trained on French."""
_BATCH: Final = 64
_PROBE: Final = "Lance la musique."


class Embedder(Protocol):
    """Embed texts with one model."""

    label: str
    """Name of the model, for the report."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return a vector of shape (hidden,) for each text. Raises AttemptError."""
        ...


def choose_embedder(spec: ModelSpec, connection: Connection) -> Embedder | None:
    """Return the configured or default embedder, or None; EngineError for a configured one that cannot be used."""
    configured = spec.embedding_model
    if configured is None:
        known = find_spec("sentence_transformers") is not None and _is_here(DEFAULT_ENCODER)
        return LocalEncoder(DEFAULT_ENCODER) if known else None
    if configured.startswith(LOCAL):
        name = configured.removeprefix(LOCAL)
        if find_spec("sentence_transformers") is None:
            raise EngineError(f"embedding model {configured!r}: sentence-transformers is not installed; install it")
        if not _is_here(name):
            raise EngineError(f"embedding model {configured!r}: no such folder, and no such model in the cache")
        return LocalEncoder(name)
    url = spec.embedding_url or connection.base_url
    encoder = ServerEncoder(configured, connection, url)
    try:
        encoder.embed([_PROBE], limit_s=connection.preflight_s)
    except AttemptError as error:
        advice = _advice(error, url, connection)
        raise EngineError(
            f"embedding model {configured!r}: {url} makes no vectors with it: {error.reason}; {advice}"
        ) from error
    return encoder


def _advice(error: AttemptError, url: str, connection: Connection) -> str:
    if error.is_silence:
        return ADVICE_ON_SILENCE
    if error.status in {401, 403} and not is_same_origin(url, connection.base_url):
        return f"it is another server than {connection.base_url}: set its own key in {EMBEDDING_KEY_VARIABLE}"
    return "name a model that it serves for embeddings, or leave embedding_model out"


class ServerEncoder:
    """Embeddings by a model of the server."""

    def __init__(self, model: str, connection: Connection, url: str) -> None:
        self._model = model
        self._connection = connection
        self._client = connection.client_for(url, retries=3)
        self.label = f"{model} (/v1/embeddings)"

    def embed(self, texts: Sequence[str], *, limit_s: float = SILENCE_S) -> list[Vector]:
        """Return the vectors of `texts`, in order, within `limit_s` for each 64. Raises AttemptError."""
        vectors: list[Vector] = []
        for start in range(0, len(texts), _BATCH):
            vectors += self._connection.run(self._batch(list(texts[start : start + _BATCH]), limit_s))
        return vectors

    async def _batch(self, texts: list[str], limit_s: float) -> list[Vector]:
        import numpy as np

        async with time_limit(limit_s):
            body = {"model": self._model, "input": texts, "encoding_format": "float"}
            answer = await self._connection.ask_whole("/embeddings", body, client=self._client)
        try:
            rows = {
                place if row.get("index") is None else row["index"]: np.asarray(row["embedding"], dtype=np.float32)
                for place, row in enumerate(answer["data"])
            }
            vectors = [rows[place] for place in range(len(texts))]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise AttemptError(BROKEN) from error
        if len({vector.shape for vector in vectors}) != 1 or vectors[0].ndim != 1 or not np.isfinite(vectors).all():
            raise AttemptError(BROKEN)
        return vectors


class LocalEncoder:
    """Embeddings by an encoder of sentence-transformers, loaded at its first use and never downloaded."""

    def __init__(self, name: str) -> None:
        from importlib.metadata import version

        self._name = name
        self._model: Any = None
        self.label = f"{name} (sentence-transformers {version('sentence-transformers')})"

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return the encoder's vectors, in the order of `texts`. Raises AttemptError when it cannot be loaded."""
        from sentence_transformers import SentenceTransformer

        if self._model is None:
            try:
                self._model = SentenceTransformer(self._name, local_files_only=True)
            except (OSError, ValueError) as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                raise AttemptError(Note("encoder_not_loaded", {"name": self._name, "said": reason})) from error
        return list(self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False))


def _is_here(name: str) -> bool:
    """Return whether an encoder is a folder or in the hub's cache, without network."""
    if Path(name).expanduser().is_dir():
        return True
    if find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "modules.json"), str)
    except HFValidationError:
        return False
