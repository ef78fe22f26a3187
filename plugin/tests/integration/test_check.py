"""`pytest-jarvis check`: six steps, a mark and a command for each finding, exit 1 on any ✗, and no torch."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_jarvis import cli
from pytest_jarvis.cli.check import environment, findings
from pytest_jarvis.cli.check.environment import Gpu, Requirement, TorchBuild
from pytest_jarvis.cli.check.findings import quote
from pytest_jarvis.demo import adapter_path

CARD = Gpu(index=0, name="NVIDIA GeForce RTX 4090", total_bytes=24_000_000_000, free_bytes=23 * 10**9, driver="550.54")
TARGET = ("--jarvis-model", "Qwen/Qwen3-30B-A3B", "--jarvis-adapter", "x=lora")

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


def test_the_demo_is_ready_on_a_cpu(check) -> None:
    found = check()
    assert {name for name, row in found.items() if row["status"] == "error"} == set()
    assert found["gpus"]["status"] == "warning"
    assert found["model.time"]["status"] == "ok"
    assert found["folder.prompts"]["values"]["prompts"] == 30  # type: ignore[index]


def test_each_gpu_is_named_with_its_memory_and_the_target_fits_a_card_of_24_gigabytes(check, monkeypatch) -> None:
    monkeypatch.setattr(environment, "find_gpus", lambda visible: (CARD,))
    shutil.copytree(adapter_path("jarvis"), "lora")
    found = check(*TARGET)
    assert found["gpus"]["text"] == "1\u00a0GPU NVIDIA"
    assert "RTX 4090, 24,0\u00a0Go, dont 23,0\u00a0Go libres" in str(found["gpu.0"]["text"])
    memory = found["model.memory"]
    assert memory["status"] == "ok"
    assert memory["values"]["needed_bytes"] / 1e9 == pytest.approx(20.0, abs=0.1)  # type: ignore[index]
    assert "model.time" not in found
    assert found["adapter"]["values"]["problem"] == "other_base"  # type: ignore[index]


def test_a_cap_of_the_configuration_is_what_there_is(check, monkeypatch) -> None:
    monkeypatch.setattr(environment, "find_gpus", lambda visible: (CARD,))
    Path("benchmark_config.json").write_text('{"model": {"max_memory": {"0": "18GB"}}}', encoding="utf-8")
    memory = check(*TARGET)["model.memory"]
    assert (memory["status"], memory["values"]["free_bytes"]) == ("error", 18 * 10**9)  # type: ignore[index]


@pytest.mark.parametrize(("free", "rows"), [(19.5e9, True), (10e9, False)])
def test_a_card_that_is_too_small_says_what_is_needed_and_what_would_do(
    check, monkeypatch, free: float, rows: bool
) -> None:
    small = Gpu(index=0, name="x", total_bytes=24 * 10**9, free_bytes=int(free), driver="550.54")
    monkeypatch.setattr(environment, "find_gpus", lambda visible: (small,))
    memory = check(*TARGET)["model.memory"]
    assert memory["status"] == "error"
    assert rows == ("generation.batch_size" in str(memory["text"]))


def test_without_a_gpu_the_target_says_what_that_means_for_time(check, monkeypatch) -> None:
    monkeypatch.setattr(environment, "free_memory", lambda: 64 * 10**9)
    found = check(*TARGET)
    assert (found["model.memory"]["status"], found["model.time"]["status"]) == ("ok", "warning")
    assert "122,1\u00a0Go" in str(found["model.time"]["text"])


@pytest.mark.parametrize(
    ("free", "offline", "expected"),
    [
        (10**11, "", ("warning", "61,1\u00a0Go seront téléchargés")),
        (10**10, "", ("error", "le disque est trop petit")),
        (10**11, "1", ("error", "HF_HUB_OFFLINE")),
    ],
)
def test_a_model_that_is_not_there_is_held_against_the_disk(
    check, monkeypatch, free: int, offline: str, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(environment, "free_disk", lambda folder: free)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    disk = check(*TARGET)["model.disk"]
    assert disk["status"] == expected[0]
    assert expected[1] in str(disk["text"])


@pytest.mark.parametrize(("size", "status"), [(10**6, "ok"), (10**9, "error")])
def test_a_family_that_is_not_known_is_judged_by_its_files(check, monkeypatch, size: int, status: str) -> None:
    monkeypatch.setattr(environment, "free_memory", lambda: 10**8)
    Path("m").mkdir()
    Path("m/config.json").write_text('{"model_type": "mamba"}', encoding="utf-8")
    with Path("m/model.safetensors").open("wb") as stream:
        stream.truncate(size)
    memory = check("--jarvis-model", "./m", "--jarvis-adapter", "x=lora")["model.memory"]
    assert (memory["status"], "environ" in str(memory["text"])) == (status, True)


@pytest.mark.parametrize(
    ("model", "said"), [("nulle/part/ici", "n’est ni un dossier"), ("vide", "pas de modèle entier")]
)
def test_a_base_that_cannot_be_is_an_error(check, model: str, said: str) -> None:
    Path("vide").mkdir()
    files = check("--jarvis-model", model, "--jarvis-adapter", "x=lora")["model.files"]
    assert (files["status"], said in str(files["text"])) == ("error", True)


@pytest.mark.parametrize(
    ("build", "name", "command"),
    [
        (None, "torch", findings.INSTALL_LOCAL),
        (TorchBuild(version="2.9.0+cpu", cuda=None), "torch.cuda", findings.INSTALL_CUDA),
        (TorchBuild(version="2.9.0", cuda="13.0"), "driver", None),
    ],
)
def test_a_torch_that_cannot_use_the_card_is_an_error(
    check, monkeypatch, build: TorchBuild | None, name: str, command: str | None
) -> None:
    monkeypatch.setattr(environment, "find_torch", lambda: build)
    monkeypatch.setattr(environment, "find_gpus", lambda visible: (CARD,))
    row = check()[name]
    assert (row["status"], row["command"]) == ("error", command)


def test_an_engine_without_a_model_needs_no_torch(check, monkeypatch) -> None:
    monkeypatch.setattr(environment, "find_torch", lambda: None)
    found = check("--jarvis-engine", "scripted")
    assert found["torch"]["status"] == "warning"
    assert "ne charge aucun modèle" in str(found["engine"]["text"])
    assert "model.memory" not in found


@pytest.mark.parametrize(("url", "status"), [((), "error"), (("--jarvis-base-url", "http://localhost:9/v1"), "ok")])
def test_a_server_needs_its_client_and_its_address(check, monkeypatch, url: tuple[str, ...], status: str) -> None:
    monkeypatch.setattr(
        environment,
        "find_requirements",
        lambda extra: [Requirement(name="openai", asked="", extra=extra, installed=None, good=False)],
    )
    arguments = ("--jarvis-engine", "server", "--jarvis-model", "base", "--jarvis-adapter", "ft")
    found = check(*arguments, *url)
    assert found["engine"]["status"] == status
    assert found["adapter.served"]["values"]["name"] == "ft"  # type: ignore[index]
    client = found["package.openai"]
    assert (client["status"], client["command"]) == ("error", 'pip install "pytest-jarvis[server]"')


def test_a_package_that_is_missing_or_too_old_has_its_command(check, monkeypatch) -> None:
    def lack(extra: str) -> list[Requirement]:
        core = Requirement(name="numpy", asked=">=2", extra=None, installed="1.26", good=False)
        local = Requirement(name="peft", asked=">=0.21", extra=extra, installed=None, good=False)
        return [core, local]

    monkeypatch.setattr(environment, "find_requirements", lack)
    found = check()
    assert (found["package.numpy"]["status"], found["package.numpy"]["command"]) == ("error", findings.INSTALL_CORE)
    assert "peft n’est pas installé" in str(found["package.peft"]["text"])
    monkeypatch.setattr(environment, "find_requirements", lambda extra: [])
    assert check()["packages"]["status"] == "error"


def test_the_newest_adapter_is_named_with_why(check) -> None:
    shutil.copytree(adapter_path("jarvis"), "adapters/run")
    found = check("--jarvis-adapter", "auto")
    assert "choisi par" in str(found["adapter.auto"]["text"])
    assert found["adapter"]["values"]["name"] == "run"  # type: ignore[index]
    assert found["folder.adapters"]["values"]["found"] == 1  # type: ignore[index]


UNKNOWN = ("--jarvis-model", "a/b", "--jarvis-adapter", "x=lora")
DEMO_INCONNU = "demo:inconnu, inconnu\u00a0; connus\u00a0: demo:jarvis, demo:faible"


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        (("--jarvis-adapter", "auto"), "adapters", ("error", "")),
        (("--jarvis-adapter", "demo:inconnu"), "adapter", ("error", DEMO_INCONNU)),
        (("--jarvis-prompts", "nulle-part"), "folder.prompts", ("error", "")),
        (UNKNOWN, "model.disk", ("warning", "taille inconnue")),
        (UNKNOWN, "model.memory", ("warning", "besoin inconnu")),
        (("--jarvis-aa",), "adapter.none", ("ok", "")),
        ((), "gpus", ("warning", "CUDA_VISIBLE_DEVICES=''")),
    ],
)
def test_what_is_not_there_or_hidden_or_unknown_is_said(
    check, monkeypatch, arguments: tuple[str, ...], name: str, expected: tuple[str, str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    row = check(*arguments)[name]
    assert (row["status"], expected[1] in str(row["text"])) == (expected[0], True)
    assert name != "adapter" or row["command"] is None


def spoil(folder: Path, what: str) -> None:
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    stated = json.loads(config.read_text(encoding="utf-8"))
    if what == "pointer":
        weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    elif what == "no lora":
        weights.write_bytes(weights.read_bytes().replace(b".lora_", b".more_"))
    elif what == "method":
        config.write_text(json.dumps({**stated, "peft_type": "LOHA"}), encoding="utf-8")
    elif what == "other base":
        config.write_text(json.dumps({**stated, "base_model_name_or_path": "Qwen/Qwen3-8B"}), encoding="utf-8")


@pytest.mark.parametrize(
    ("what", "said", "command"),
    [
        ("pointer", "pointeur Git LFS", f"git -C {quote('ma LoRA')} lfs pull"),
        ("no lora", "les poids de LoRA annoncés manquent dans le fichier, ou sont vides ; recopiez ensemble", None),
        ("method", 'ce n’est pas une LoRA : peft_type vaut "LOHA" ; entraînez une LoRA', None),
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
        (["--jarvis-model", ""], "--jarvis-model: base_model_id"),
        (["--jarvis-samples", "x"], "expected a whole number from 1"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence_and_exit_4(folder, refused, arguments: list[str], said: str) -> None:
    assert said in refused("check", *arguments)


def test_torch_itself_is_asked_when_told_to(check) -> None:
    pytest.importorskip("torch")
    row = check("--deep")["torch.deep"]
    assert (row["status"], row["values"]["problem"]) == ("ok", None)  # type: ignore[index]
