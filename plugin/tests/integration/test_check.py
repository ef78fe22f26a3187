"""`pytest-jarvis check`: six steps, a mark and a command for each finding, exit 1 on any ✗, and no torch."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.cli.check import environment
from pytest_jarvis.cli.check.environment import Gpu, Requirement, TorchBuild
from pytest_jarvis.cli.check.findings import quote
from pytest_jarvis.demo import adapter_path, base_path
from pytest_jarvis.inputs.prompts import packaged_prompts

CARD = Gpu(index=0, name="NVIDIA GeForce RTX 4090", total_bytes=24_000_000_000, free_bytes=23 * 10**9, driver="550.54")
ADAPTER = ("--jarvis-adapter", "x=lora")
TARGET = ("--jarvis-model", "Qwen/Qwen3-30B-A3B", *ADAPTER)

Check = Callable[..., dict[str, dict[str, object]]]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return an empty folder to stand in, with an empty cache of the hub and a torch for CUDA without a GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(environment, "find_gpus", lambda visible: ())
    monkeypatch.setattr(environment, "find_torch", lambda: TorchBuild(version="2.9.0", cuda="12.8"))
    return tmp_path


@pytest.fixture
def check(folder, capsys) -> Check:
    """Return a function that runs the command and gives its findings by name; the exit status is the first."""

    def run(*arguments: str) -> dict[str, dict[str, object]]:
        status = cli.main(["check", "--json", *arguments])
        rows = json.loads(capsys.readouterr().out)
        assert status == int(any(row["status"] == "error" for row in rows))
        return {row["name"]: row for row in rows}

    return run


def test_the_real_machine_is_checked_without_torch_within_a_second() -> None:
    code = (
        "import sys; from pytest_jarvis.cli import main; status = main(['check']); "
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'pytest', 'huggingface_hub'}; "
        "print(sorted(heavy & set(sys.modules))); sys.exit(status)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    started = os.times()
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, encoding="utf-8", env=environment
    )
    spent = os.times()
    assert (done.returncode, done.stderr) == (0, "")
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert [line for line in lines if line[:1].isdigit()] == [
        "1. Python",
        "2. PyTorch et CUDA",
        "3. Dépendances Python",
        "4. Dossiers",
        "5. Adaptateurs LoRA",
        "6. Configuration d’ensemble",
    ]
    assert spent.children_user + spent.children_system - started.children_user - started.children_system < 1


def test_every_finding_has_a_mark_and_what_is_wrong_a_command(folder, capsys) -> None:
    shutil.copytree(adapter_path("jarvis"), "mes LoRA/bon")
    assert cli.main(["check", "--jarvis-adapter", "mes LoRA/nulle-part"]) == 1
    lines = capsys.readouterr().out.replace("\u00a0", " ").splitlines()
    place = lines.index(
        f"   ✗ nulle-part : {Path('mes LoRA/nulle-part')}, pas de tel dossier ; donnez le dossier qu’a écrit "
        "save_pretrained de peft"
    )
    assert lines[place + 1] == f"       → pytest-jarvis adapters {quote('mes LoRA')}"
    assert lines[-1].startswith("1 point à corriger (")


TORCH = TorchBuild(version="2.9.0", cuda="12.8")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine, what is asked of it, and of which findings the golden file has the words."""

    asked: tuple[str, ...] = ()
    about: tuple[str, ...]
    """How the names of those findings begin."""
    free_of_card: float | None = None
    torch: TorchBuild | None = TORCH
    disk: float = 1e11
    lacks: tuple[Requirement, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    config: str = "{}"


SERVER = ("--jarvis-engine", "server", "--jarvis-model", "base", "--jarvis-adapter", "ft")
NO_CLIENT = Requirement(name="openai", asked="", extra="server", installed=None, good=False)
OLD = Requirement(name="numpy", asked=">=2", extra=None, installed="1.26", good=False)
ABSENT = Requirement(name="peft", asked=">=0.21", extra="local", installed=None, good=False)
HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}
MACHINES = {
    "the demo on a CPU": Machine(about=("gpus", "model", "folder.prompts")),
    "a card of 24 GB": Machine(asked=TARGET, free_of_card=23e9, about=("gpu", "model.memory", "model.time", "adapter")),
    "a cap": Machine(
        asked=TARGET, free_of_card=23e9, config='{"model": {"max_memory": {"0": "18GB"}}}', about=("model.memory",)
    ),
    "a card for fewer rows": Machine(asked=TARGET, free_of_card=19.5e9, about=("model.memory",)),
    "a card that is too small": Machine(asked=TARGET, free_of_card=10e9, about=("model.memory",)),
    "the target on a CPU": Machine(asked=TARGET, about=("model.memory", "model.time", "model.disk")),
    "a small disk": Machine(asked=TARGET, disk=1e10, about=("model.disk",)),
    "offline": Machine(asked=TARGET, environment={"HF_HUB_OFFLINE": "1"}, about=("model.disk",)),
    "no such base": Machine(asked=("--jarvis-model", "nulle/part/ici", *ADAPTER), about=("model.files",)),
    "an empty base": Machine(asked=("--jarvis-model", "vide", *ADAPTER), about=("model.files",)),
    "a base not known": Machine(asked=("--jarvis-model", "a/b", *ADAPTER), about=("model.disk", "model.memory")),
    "no torch": Machine(torch=None, free_of_card=23e9, about=("torch",)),
    "a torch for CPUs": Machine(torch=TorchBuild(version="2.9.0+cpu", cuda=None), free_of_card=23e9, about=("torch",)),
    "an old driver": Machine(torch=TorchBuild(version="2.9.0", cuda="13.0"), free_of_card=23e9, about=("driver",)),
    "no model": Machine(asked=("--jarvis-engine", "scripted"), torch=None, about=("torch", "engine", "model")),
    "no address": Machine(asked=SERVER, lacks=(NO_CLIENT,), about=("engine", "adapter", "package")),
    "a server": Machine(asked=(*SERVER, "--jarvis-base-url", "http://localhost:9/v1"), about=("engine",)),
    "packages": Machine(lacks=(OLD, ABSENT), about=("package",)),
    "no adapter to choose": Machine(asked=("--jarvis-adapter", "auto"), about=("adapters",)),
    "no such demo": Machine(asked=("--jarvis-adapter", "demo:inconnu"), about=("adapter",)),
    "no such prompts": Machine(asked=("--jarvis-prompts", "nulle-part"), about=("folder.prompts",)),
    "an A/A run": Machine(asked=("--jarvis-aa",), about=("adapter",)),
    "a hidden card": Machine(environment=HIDDEN, about=("gpus",)),
}


def test_what_is_said_of_each_machine(check, monkeypatch, golden) -> None:
    shutil.copytree(adapter_path("jarvis"), "lora")
    Path("vide").mkdir()
    monkeypatch.setattr(environment, "free_memory", lambda: 64 * 10**9)
    said = []
    for what, machine in MACHINES.items():
        free = machine.free_of_card
        cards = () if free is None else (replace(CARD, free_bytes=int(free)),)
        with monkeypatch.context() as patch:
            patch.setattr(environment, "find_gpus", lambda visible, cards=cards: cards)
            patch.setattr(environment, "find_torch", lambda torch=machine.torch: torch)
            patch.setattr(environment, "free_disk", lambda folder, free=machine.disk: int(free))
            patch.setattr(environment, "find_requirements", lambda extra, lacks=machine.lacks: list(lacks))
            for name, value in machine.environment.items():
                patch.setenv(name, value)
            Path("benchmark_config.json").write_text(machine.config, encoding="utf-8")
            rows = [row for name, row in check(*machine.asked).items() if name.startswith(machine.about)]
        lines = [f"{row['name']} ({row['status']}): {row['text']} -> {row['command']}" for row in rows]
        said.append("\n    ".join([what, *lines]))
    text = "\n".join(said).replace(str(packaged_prompts()), "jarvis_prompts").replace(str(Path.cwd()), ".")
    assert golden == text.replace(os.sep, "/")


@pytest.mark.parametrize(("size", "status"), [(10**6, "ok"), (10**9, "error")])
def test_a_family_that_is_not_known_is_judged_by_its_files(check, monkeypatch, size: int, status: str) -> None:
    monkeypatch.setattr(environment, "free_memory", lambda: 10**8)
    Path("m").mkdir()
    Path("m/config.json").write_text('{"model_type": "mamba"}', encoding="utf-8")
    with Path("m/model.safetensors").open("wb") as stream:
        stream.truncate(size)
    memory = check("--jarvis-model", "./m", "--jarvis-adapter", "x=lora")["model.memory"]
    assert (memory["status"], "environ" in str(memory["text"])) == (status, True)


def test_the_newest_adapter_is_named_with_why(check) -> None:
    shutil.copytree(adapter_path("jarvis"), "adapters/run")
    found = check("--jarvis-adapter", "auto")
    assert "choisi par" in str(found["adapter.auto"]["text"])
    assert found["adapter"]["values"]["name"] == "run"  # type: ignore[index]
    assert found["folder.adapters"]["values"]["found"] == 1  # type: ignore[index]


def spoil(folder: Path, what: str) -> None:
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    stated = json.loads(config.read_text(encoding="utf-8"))
    if what == "pointer":
        weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    elif what == "no lora":
        weights.write_bytes(weights.read_bytes().replace(b".lora_", b".more_"))
    elif what == "method":
        config.write_text(json.dumps({**stated, "peft_type": "LOHA"}), encoding="utf-8")
    elif what == "unwrapped":
        weights.write_bytes(weights.read_bytes().replace(b'"base_model.', b'"_orig_mod.x'))
    elif what == "other base":
        config.write_text(json.dumps({**stated, "base_model_name_or_path": "Qwen/Qwen3-8B"}), encoding="utf-8")


@pytest.mark.parametrize(
    ("what", "said", "command"),
    [
        ("pointer", "pointeur Git LFS", f"git -C {quote('ma LoRA')} lfs pull"),
        ("no lora", "les poids de LoRA annoncés manquent dans le fichier, ou sont vides ; recopiez ensemble", None),
        ("method", 'ce n’est pas une LoRA : peft_type vaut "LOHA" ; entraînez une LoRA', None),
        ("unwrapped", "des noms de poids que peft ne reconnaît pas : « _orig_mod. » dans _orig_mod.", None),
        ("other base", "autre base (Qwen/Qwen3-8B) ; choisissez sa base avec --jarvis-model", None),
    ],
)
def test_what_is_wrong_with_a_named_adapter_has_its_own_remedy(
    check, what: str, said: str, command: str | None
) -> None:
    spoil(shutil.copytree(adapter_path("jarvis"), Path("ma LoRA"), copy_function=shutil.copyfile), what)
    found = check("--jarvis-adapter", "a=ma LoRA")["adapter"]
    assert said in str(found["text"]).replace("\u00a0", " ")
    assert ("error", command) == (found["status"], found["command"])


def test_an_adapter_of_another_name_or_template_is_a_warning(check) -> None:
    base = shutil.copytree(base_path(), Path("m"), copy_function=shutil.copyfile)
    folder = shutil.copytree(adapter_path("jarvis"), Path("a"), copy_function=shutil.copyfile)
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    vocabulary = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary["added_tokens"][0]["id"] += 1
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    stated = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    stated["base_model_name_or_path"] = "Qwen/Qwen3-8B"
    (folder / "adapter_config.json").write_text(json.dumps(stated), encoding="utf-8")
    found = check("--jarvis-model=./m", "--jarvis-adapter=a=a")
    doubts = {name: row["status"] for name, row in found.items() if name.startswith("adapter")}
    warned = dict.fromkeys(("adapter.base", "adapter.template", "adapter.tokenizer"), "warning")
    assert {"adapter": "ok", **warned} == doubts


def test_single_tokens_exclude_other_adapters(check) -> None:
    config = shutil.copytree(adapter_path("jarvis"), Path("a"), copy_function=shutil.copyfile) / "adapter_config.json"
    stated = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**stated, "trainable_token_indices": [1]}), encoding="utf-8")
    alone, beside = (check("--jarvis-adapter=a=a", *more) for more in ((), ("--jarvis-adapter=b=a",)))
    assert ["ok", "error"] == [found["adapter"]["status"] for found in (alone, beside)]


@pytest.mark.parametrize(
    ("template", "quantized", "name", "said"),
    [
        ("{{ tools }}<tool_call>", "gptq", "quantization", "quantifiés par gptq, et il manque optimum, gptqmodel"),
        ("{{ messages }}", None, "template", "n’énumère pas les outils"),
        ("{{ tools }}", None, "template", "n’appelle pas les outils par <tool_call>"),
        ("", None, "template", "pas de gabarit"),
    ],
)
def test_a_base_that_the_run_would_refuse_is_not_ready(
    check, template: str, quantized: str | None, name: str, said: str
) -> None:
    base = shutil.copytree(base_path(), Path("m"), copy_function=shutil.copyfile)
    (base / "chat_template.jinja").write_text(template, encoding="utf-8")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    stated = {"quantization_config": {"quant_method": quantized}} if quantized else {}
    (base / "config.json").write_text(json.dumps({**config, **stated}), encoding="utf-8")
    row = check("--jarvis-model=./m", "--jarvis-adapter=x=lora", "--jarvis-tools")[f"model.{name}"]
    assert ("error", True) == (row["status"], said in str(row["text"]).replace("\u00a0", " "))


@pytest.mark.parametrize(
    ("word", "windows", "expected"),
    [("ma LoRA", False, "'ma LoRA'"), ("ma LoRA", True, '"ma LoRA"'), (r"C:\loras\v1", True, r"C:\loras\v1")],
)
def test_a_folder_is_quoted_as_the_shell_of_the_system_reads_it(word: str, windows: bool, expected: str) -> None:
    assert expected == quote(word, windows=windows)


@pytest.mark.parametrize(
    ("adapters", "command"),
    [
        (("auto",), f"pytest-jarvis adapters --jarvis-config {quote('ma config.json')}"),
        (("v1=auto",), f"pytest-jarvis adapters --jarvis-config {quote('ma config.json')}"),
        (("a=x", "a=y"), None),
    ],
)
def test_the_list_is_proposed_where_auto_had_to_choose_from_it(
    check, adapters: tuple[str, ...], command: str | None
) -> None:
    Path("ma config.json").write_text("{}", encoding="utf-8")
    given = [f"--jarvis-adapter={adapter}" for adapter in adapters]
    assert command == check("--config", "ma config.json", *given)["adapters"]["command"]


def test_a_configured_folder_that_is_not_there_is_a_warning(check) -> None:
    Path("benchmark_config.json").write_text(
        '{"model": {"adapters": {"a": "demo:jarvis"}, "adapter_folders": ["runs"]}}', encoding="utf-8"
    )
    row = check()["folder.adapters"]
    assert (row["status"], row["command"]) == ("warning", "mkdir runs")


def test_a_configuration_that_cannot_be_read_is_the_sixth_step_s_error(check) -> None:
    Path("benchmark_config.json").write_text('{"modle": {}}', encoding="utf-8")
    found = check()
    assert "did you mean 'model'?" in str(found["config"]["text"])
    assert found["unchecked"]["status"] == "warning"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "rien.json"], "rien.json: no such file"),
        (["--jarvis-model", ""], "--jarvis-model: expected a value"),
        (["--jarvis-samples", "x"], "expected a whole number from 1"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence_and_exit_4(folder, refused, arguments: list[str], said: str) -> None:
    assert said in refused("check", *arguments)


def test_torch_itself_is_asked_when_told_to(check) -> None:
    pytest.importorskip("torch")
    row = check("--deep")["torch.deep"]
    assert (row["status"], row["values"]["problem"]) == ("ok", None)  # type: ignore[index]
