"""The files for Docker refer to paths and options that exist."""

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from kebyt5.serving.options import ServeOptions

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"


def test_the_image_copies_files_that_exist_and_runs_without_privileges():
    text = (DEPLOY / "Dockerfile").read_text()
    ignored = (PROJECT / ".dockerignore").read_text().split()
    default = re.search(r"^ARG CHECKPOINT=(.+)$", text, re.MULTILINE)[1]
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _ = [part for part in line.split() if not part.startswith("--")]
        for source in sources:
            path = source.replace("${CHECKPOINT}", default)
            assert (PROJECT / path).exists(), path
            assert path.split("/")[0] not in ignored
    assert text.index("USER kebyt5") < text.index("ENTRYPOINT")


def test_the_image_starts_a_command_that_there_is(run):
    text = (DEPLOY / "Dockerfile").read_text()
    command = yaml.safe_load(re.search(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)[1])
    assert command[0] == "kebyt5"
    code, out, _ = run(command[1], "--help")
    assert code == 0
    for option in [part for part in command if part.startswith("--")]:
        assert option in out


def test_compose_and_prometheus_agree():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    scrape = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]
    service, port = scrape[0]["static_configs"][0]["targets"][0].split(":")
    assert any(each.endswith(f":{port}") for each in compose["services"][service]["ports"])
    for mount in (
        compose["services"]["prometheus"]["volumes"] + compose["services"][service]["volumes"]
    ):
        source = mount.split(":")[0]
        assert (DEPLOY / source).exists() or source in compose["volumes"]


def test_compose_waits_longer_than_the_server():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    grace = compose["services"]["kebyt5"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > ServeOptions().drain_seconds


def test_prometheus_can_read_the_metrics(client):
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert {"kebyt5_queue", "kebyt5_generated_ids"} <= {family.name for family in families}
