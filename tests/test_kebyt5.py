"""`import kebyt5` registers the models; the command line imports them only when it needs them."""

import subprocess
import sys

import pytest

import kebyt5

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


def test_a_session_without_a_script_lists_and_has_the_public_names():
    code = "import sys; sys.argv = []; import kebyt5; print({*kebyt5.__all__} <= {*dir(kebyt5)})"
    assert python("-c", code + "; print(kebyt5.models.loading.load is kebyt5.load)") == (
        "True\nTrue\n"
    )
    lazy = code.replace("[]", "['kebyt5']")
    assert python("-c", lazy) == "True\n"


def test_a_script_whose_first_argument_is_kebyt5_registers_the_models(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import kebyt5\nfrom transformers import AutoConfig\n"
        "print(AutoConfig.for_model('gbswt5').model_type)\n"
    )
    assert python(str(script), "kebyt5") == "gbswt5\n"


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
