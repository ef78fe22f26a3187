"""Find a base model's files in the package, a folder or the hub's cache, and compare models, without network access."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from pytest_jarvis.files import InputError, read_bytes
from pytest_jarvis.inputs.safetensors_header import Shapes, WeightsError, is_plain, read_header, read_layout, shapes_of

Place = Literal["demo", "folder", "gguf", "cache", "absent", "impossible"]


class BaseFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a base model on this machine."""

    place: Place
    """`absent`: a hub id that is not downloaded; `impossible`: neither a folder nor a hub id."""
    folder: Path | None
    config: Mapping[str, Any] | None
    """Its `config.json`, or an entry of `KNOWN_CONFIGS`; None without a readable one."""
    whole: bool
    """Whether all of its weight files exist."""
    size_bytes: int
    """Size of the weight files that exist."""
    gguf: Path | None = None
    """The GGUF that `folder` is dequantised from; the folder is None before its first load."""

    @property
    def quantized_by(self) -> str | None:
        """The quantisation method of the checkpoint."""
        said = (self.config or {}).get("quantization_config")
        return str(said.get("quant_method", "?")) if isinstance(said, Mapping) else None

    def missing_packages(self) -> tuple[str, ...]:
        """Return the packages that its quantisation method needs and this environment lacks."""
        needed = _QUANTIZERS.get(self.quantized_by or "", ())
        return tuple(package for package in needed if not _is_installed(package))

    def chat_template(self, *, tools: bool = False) -> str | None:
        """Return the chat template of its tokenizer's files, that for tools where it has one; None without any."""
        return None if self.folder is None else read_template(self.folder, tools=tools)


_QUANTIZERS: Final[Mapping[str, tuple[str, ...]]] = {
    "gptq": ("optimum", "gptqmodel"),
    "awq": ("gptqmodel",),
    "compressed-tensors": ("compressed-tensors",),
    "auto-round": ("auto-round",),
    "hqq": ("hqq",),
    "aqlm": ("aqlm",),
    "torchao": ("torchao",),
    "quanto": ("optimum-quanto",),
}
"""Quantisation method of a checkpoint -> the packages without which transformers refuses it."""


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def read_template(folder: Path, *, tools: bool = False) -> str | None:
    """Return the chat template in a folder's files, where transformers looks for it; None without one."""
    if tools and (file := folder / "additional_chat_templates" / "tool_use.jinja").is_file():
        return file.read_text(encoding="utf-8")
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    files = (_read(folder / name) or {} for name in ("chat_template.json", "tokenizer_config.json"))
    found = next((one["chat_template"] for one in files if one.get("chat_template")), None)
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = (named.get("tool_use") if tools else None) or named.get("default")
    return found if isinstance(found, str) else None


def read_vocabulary(folder: Path) -> Mapping[str, int]:
    """Return the tokens in a folder's `tokenizer.json` and their numbers; empty without one."""
    stated = _read(folder / "tokenizer.json") or {}
    model, added = stated.get("model"), stated.get("added_tokens")
    tokens = model.get("vocab") if isinstance(model, dict) else None
    found = {pair[0]: number for number, pair in enumerate(tokens)} if isinstance(tokens, list) else tokens
    return {**(found or {}), **{one["content"]: one["id"] for one in added or ()}}


def find_gguf(name: Path) -> Path | None:
    """Return the GGUF that is a file, or the only one of a folder without a `config.json`; None without any.

    Raises InputError for a folder with several, and for a file in parts.
    """
    found = [name] if name.suffix.lower() == ".gguf" and name.is_file() else []
    if name.is_dir() and not (name / "config.json").is_file():
        found = sorted(file for file in name.iterdir() if file.suffix.lower() == ".gguf")
    if found and re.search(r"-\d+-of-\d+$", found[0].stem):
        raise InputError(f"{name}: {found[0].name} is a part of a GGUF; join them (llama-gguf-split --merge)")
    if len(found) > 1:
        raise InputError(f"{name}: it holds {len(found)} GGUF files; name one of them: {found[0]}")
    return found[0] if found else None


def gguf_cache(file: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for the dequantised model of a GGUF file, by the file's place, size and time of change."""
    status = file.stat()
    key = sha256(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[:16]
    return Path(environment.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "pytest-jarvis" / "gguf" / key / file.stem


def find_base(name: str, revision: str | None, cache: Path) -> BaseFiles:
    """Return the files of the base `name`; `cache` is the hub's folder of downloads."""
    if name == "demo":
        from pytest_jarvis.demo import base_path

        return _inspect("demo", base_path())
    folder = Path(name).expanduser()
    if (found := _find_dequantized(folder)) is not None:
        return found
    if folder.is_dir():
        return _inspect("folder", folder)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1 or "\\" in name:
        return BaseFiles(place="impossible", folder=None, config=None, whole=False, size_bytes=0)
    snapshot = _snapshot(cache / f"models--{name.replace('/', '--')}", revision or "main")
    if snapshot is not None:
        found = _inspect("cache", snapshot)
        if found.config is not None:
            return found
    return BaseFiles(place="absent", folder=None, config=KNOWN_CONFIGS.get(plain_name(name)), whole=False, size_bytes=0)


def plain_shapes(name: str, revision: str | None = None) -> Shapes:
    """Return the shapes of a base's weights as its files name them; empty for one that is not here, or is packed."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        folder = find_base(name, revision, hub_cache()).folder
        for file in sorted(folder.glob("*.safetensors")) if folder is not None else ():
            header = read_header(file)
            if not is_plain(header):
                return {}
            found |= shapes_of(header)
    except (OSError, RuntimeError, WeightsError):  # no such user, unreadable, or cut
        return {}
    return found


def _find_dequantized(name: Path) -> BaseFiles | None:
    try:
        gguf = find_gguf(name)
    except InputError:
        return None  # in parts, or one of several: no model
    if gguf is None:
        return None
    place, size = gguf_cache(gguf), gguf.stat().st_size
    if place.is_dir():
        return msgspec.structs.replace(_inspect("gguf", place), gguf=gguf)
    return BaseFiles(place="gguf", folder=None, config=None, whole=False, size_bytes=size, gguf=gguf)


def fits_base(stated: str | None, base: str) -> bool:
    """Return whether an adapter that names the base `stated` may belong to `base`, by their names, files and shapes."""
    return may_fit(stated, base) and (stated is None or other_known_shape(stated, base, hub_cache()) is None)


def other_known_shape(stated: str, base: str, cache: Path) -> str | None:
    """Return the difference in shape between the models `stated` and `base`, one a folder and the other a hub id.

    None without one, or where neither the hub's folder `cache` nor this package has the configuration of the hub id.
    Vocabularies may differ: an adapter trained with more tokens names the model it began with.
    """
    try:
        theirs, ours = find_base(stated, None, cache), find_base(base, None, cache)
    except (OSError, RuntimeError):
        return None  # an unreadable folder, or one of an unknown user
    if theirs.config is None or ours.config is None or (theirs.place == "folder") == (ours.place == "folder"):
        return None
    return other_shape(theirs.config, ours.config, but=("vocab_size",))


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the hub's folder of downloads, by the rules of `huggingface_hub`."""
    if named := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(home).expanduser() / "hub"


def _snapshot(folder: Path, revision: str) -> Path | None:
    """Return the folder of a branch, tag or commit of a cached model: `refs/NAME` holds a commit."""
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    found = folder / "snapshots" / commit
    return found if found.is_dir() else None


def _inspect(place: Place, folder: Path) -> BaseFiles:
    weights = [file for file in folder.iterdir() if file.suffix in {".safetensors", ".bin"}]
    index = _read(folder / "model.safetensors.index.json") or _read(folder / "pytorch_model.bin.index.json")
    wanted = set(index["weight_map"].values()) if index and isinstance(index.get("weight_map"), dict) else set()
    there = {file.name for file in weights if file.exists()}
    return BaseFiles(
        place=place,
        folder=folder,
        config=_read(folder / "config.json"),
        whole=bool(there) and wanted <= there,
        size_bytes=sum(file.stat().st_size for file in weights if file.exists()),
    )


def names_other_base(stated: str | None, base: str) -> bool:
    """Return whether an adapter names another base than a folder, whose own name proves nothing."""
    return stated is not None and Path(base).expanduser().exists() and plain_name(stated) != plain_name(base)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(read_bytes(file).decode())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


_SHAPE: Final = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "moe_intermediate_size",
    "num_experts",
    "num_local_experts",
    "vocab_size",
)
"""Keys that are equal in all configurations of one model, whatever its precision."""
_SAMPLE_BYTES: Final = 4096


def other_model(stated: str, base: str) -> str | None:
    """Return how the model in the folder `stated` differs from the one in `base`, as a part of a sentence.

    None when no difference is found, for one and the same folder, and when either holds no model. Samples of the
    weights are compared only where all files have the same layout: another format or precision has other bytes too.
    """
    there, here = _folder(stated), _folder(base)
    if there is None or here is None or there.samefile(here):
        return None
    difference = other_shape(_read(there / "config.json") or {}, _read(here / "config.json") or {})
    if difference is not None:
        return difference
    theirs, ours = _layouts(there), _layouts(here)
    if theirs != ours or None in theirs.values():
        return None
    other = next((name for name in sorted(theirs) if _sample(there / name) != _sample(here / name)), None)
    return None if other is None else f"{other} has other weights there, of the same names and shapes"


def other_shape(theirs: Mapping[str, Any], ours: Mapping[str, Any], but: Iterable[str] = ()) -> str | None:
    """Return the first difference of two models' configurations, as a part of a sentence; keys in `but` may differ.

    Of a multimodal model the text part is compared. A key that one of them lacks is no difference.
    """
    theirs, ours = _text_part(theirs), _text_part(ours)
    for key in _SHAPE:
        there, here = theirs.get(key), ours.get(key)
        known = key not in but and there is not None and here is not None
        if known and _without_text_suffix(there) != _without_text_suffix(here):
            return f"{key} is {there!r} there and {here!r} here"
    return None


def _without_text_suffix(value: object) -> object:
    """Return a value without the ending `_text` that only some versions of transformers add to a model type."""
    return value.removesuffix("_text") if isinstance(value, str) else value


def _folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if (folder / "config.json").is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def _layouts(folder: Path) -> dict[str, bytes | None]:
    return {file.name: read_layout(file) for file in folder.glob("*.safetensors")}


def _sample(file: Path) -> list[bytes]:
    """Return five samples of a file, evenly spaced from its beginning to its end."""
    size, found = file.stat().st_size, []
    with file.open("rb") as stream:
        for share in (0, 1, 2, 3, 4):
            stream.seek(max(0, (size - _SAMPLE_BYTES) * share // 4))
            found.append(stream.read(_SAMPLE_BYTES))
    return found


def may_fit(stated: str | None, base: str) -> bool:
    """Return whether an adapter that names the base `stated` may belong to `base`, a folder, a hub id or `demo`.

    The name of a folder proves nothing: it rules out only an adapter of the embedded base, and one that names a folder
    with a different model.
    """
    if stated is None:
        return True
    if base == "demo" or stated == "demo":
        return stated == base
    if other_model(stated, base) is not None:
        return False
    return Path(base).expanduser().exists() or plain_name(stated) == plain_name(base)


def plain_name(name: str) -> str:
    """Return the last part of a path or hub id in lower case, without suffixes of quantisation."""
    cached = re.search(r"models--[^/\\]+?--([^/\\]+)[/\\]snapshots", name)
    last = cached.group(1) if cached else re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    last = re.sub(r"([-.](i?q\d\w*|bf16|f16|f32))?\.gguf$", "", last, flags=re.IGNORECASE)
    return re.sub(r"(-(unsloth|bnb|4bit|8bit|nf4|int4|int8|fp8|bf16|fp16))+$", "", last.lower())


KNOWN_CONFIGS: Final[Mapping[str, Mapping[str, Any]]] = {
    # https://huggingface.co/Qwen/Qwen3-30B-A3B/blob/main/config.json
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe",
        "vocab_size": 151_936,
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "intermediate_size": 6144,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "tie_word_embeddings": False,
    }
}
"""Plain name of a base -> its configuration, known before it is downloaded."""
