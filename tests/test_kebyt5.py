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
    """Python code that runs `kebyt5 …` as its script does, and prints what that imported."""
    return f"""
import sys
sys.argv = {["/bin/kebyt5", *arguments]}
from kebyt5.cli import main
try:
    main()
except SystemExit:
    pass
print({HEAVY})
"""


@pytest.mark.parametrize("name", kebyt5.__all__)
def test_public_names_are_what_their_modules_define(name):
    assert getattr(kebyt5, name).__name__ == name


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="module 'kebyt5' has no attribute 'loads'"):
        kebyt5.loads  # noqa: B018


@pytest.mark.parametrize("arguments", [
    ["--help"], ["finetune", "--help"], ["serve", "--help"], ["bench", "--help"], ["tasks"],
    ["predict", "--no-such-option"],
])  # fmt: skip
def test_help_and_refused_options_do_not_wait_for_large_packages(arguments):
    assert python("-c", command(*arguments)).splitlines()[-1] == "set()"


def test_python_m_imports_as_little():
    imports = "import runpy, sys; sys.orig_argv[1:3] = ['-m', 'kebyt5']; import kebyt5; print({})"
    assert python("-c", imports.format(HEAVY)) == "set()\n"


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
