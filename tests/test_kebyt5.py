"""`import kebyt5` is quick; the models are registered with Transformers once that is imported."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

import kebyt5
from kebyt5 import registration

HEAVY = "{'torch', 'transformers', 'matplotlib', 'gradio', 'ray', 'datatrove'} & set(sys.modules)"


def python(*arguments):
    process = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def command(*arguments):
    """Python code that runs `kebyt5 …` as its script does; prints its code and what it imported."""
    return f"""
import sys
sys.argv = {["/bin/kebyt5", *arguments]}
from kebyt5.cli import main
try:
    main()
    code = 0
except SystemExit as stop:
    code = stop.code
print(code, {HEAVY})
"""


@pytest.mark.parametrize("name", kebyt5.__all__)
def test_public_names_are_what_their_modules_define(name):
    assert getattr(kebyt5, name).__name__ == name


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="module 'kebyt5' has no attribute 'loads'"):
        kebyt5.loads  # noqa: B018


@pytest.mark.parametrize(("arguments", "code"), [
    (["--help"], 0), (["finetune", "--help"], 0), (["serve", "--help"], 0),
    (["bench", "--help"], 0), (["tasks"], 0), (["predict", "--no-such-option"], 2),
])  # fmt: skip
def test_help_and_refused_options_do_not_wait_for_large_packages(arguments, code):
    assert python("-c", command(*arguments)).splitlines()[-1] == f"{code} set()"


@pytest.mark.parametrize("options", [["-m", "kebyt5"], ["-u", "-mkebyt5"]])
def test_python_m_imports_as_little(options):
    process = subprocess.run(
        [sys.executable, "-X", "importtime", *options, "--version"], capture_output=True, text=True
    )
    assert process.stdout == f"{kebyt5.__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert "kebyt5.cli" in imported
    assert not imported & {"torch", "transformers"}


def test_the_package_lists_its_names_and_imports_nothing_large():
    code = "import sys, kebyt5; print({*kebyt5.__all__} <= {*dir(kebyt5)})"
    assert python("-c", f"{code}; print({HEAVY})") == "True\nset()\n"


@pytest.mark.parametrize("imports", [
    "import kebyt5; from transformers import AutoConfig",
    "from transformers import AutoConfig; import kebyt5",
    "import kebyt5.models.stack; from transformers import AutoConfig",  # which imports it itself
    "import kebyt5.models.auto; from transformers import AutoConfig",
    "import kebyt5.errors; from transformers.models.auto.configuration_auto import AutoConfig",
])  # fmt: skip
def test_the_models_are_registered_in_whatever_order_things_are_imported(imports):
    code = f"{imports}; print(AutoConfig.for_model('gbswt5').model_type)"
    assert python("-c", code) == "gbswt5\n"


def test_whichever_finder_has_transformers(monkeypatch):
    spec = ModuleSpec("transformers", SimpleNamespace(exec_module=None))
    elsewhere = SimpleNamespace(find_spec=lambda name, path, target: spec)
    finder = registration._Finder()
    monkeypatch.setattr(sys, "meta_path", [finder, elsewhere])
    assert finder.find_spec("transformers", None) is spec
    assert spec.loader.exec_module is not None


def test_code_within_a_command_finds_the_public_names():
    code = """
import sys
sys.argv = ["/bin/kebyt5", "finetune"]
import kebyt5
from transformers import AutoModelForSeq2SeqLM
model = kebyt5.load("tiny")
print(type(AutoModelForSeq2SeqLM.from_config(model.config)).__name__)
"""
    assert python("-c", code) == "GBSWT5ForConditionalGeneration\n"
