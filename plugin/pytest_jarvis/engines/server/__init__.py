"""The engine for OpenAI-compatible servers: vLLM, SGLang, llama.cpp and the like. Needs no torch.

client            one request and its streamed answer: parsing, retries, quirks of servers
connection        address, key, timeouts, errors of the connection
preflight         at the start: served models, adapters proven, seeds checked
embeddings        vectors for the cosine
engine            the engine
"""

from pytest_jarvis.engines.base import EngineKind

ENGINE = EngineKind(
    build="pytest_jarvis.engines.server.engine:ServerEngine",
    needs=("openai", "httpx2"),
    extra="server",
    asks_server=True,
    offers_tools=False,
)
