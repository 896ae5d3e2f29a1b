"""The configuration of the log collection, checked without Alloy, Loki and Grafana."""

import re
from typing import Any

import yaml

from tests.support.processes import ROOT

COMPOSE = ROOT / "deploy/compose"
ALLOY = (COMPOSE / "alloy/config.alloy").read_text()


def load(path: str) -> Any:
    return yaml.safe_load((COMPOSE / path).read_text())


def test_alloy_components_are_connected() -> None:
    code = "\n".join(line for line in ALLOY.splitlines() if not line.lstrip().startswith("//"))
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', code)
    assert [text.count(pair[0]) - text.count(pair[1]) for pair in ("{}", "[]", "()")] == [0, 0, 0]

    declared = {f"{kind}.{label}" for kind, label in re.findall(r'^([a-z_.]+) "(\w+)" \{', code, re.MULTILINE)}
    used = set(re.findall(r"((?:local|loki)\.\w+\.\w+)\.(?:targets|receiver)", code))
    assert used == declared - {"loki.source.file.containers"}, "only the source of the pipeline may be unused"


def test_alloy_labels_match_container_labels() -> None:
    labels = load("common.yaml")["services"]["hardened"]["logging"]["options"]["labels"].split(",")
    assert sorted(labels) == ["com.docker.compose.project", "com.docker.compose.service"]
    for label in labels:
        assert f'attrs.\\"{label}\\"' in ALLOY


def test_alloy_labels_contain_no_ids() -> None:
    labels = [
        name for block in re.findall(r"stage\.labels \{\s*values = \{(.*?)\}", ALLOY) for name in block.split(",")
    ]
    assert {label.split("=")[0].strip() for label in labels} == {"project", "service", "level"}


def test_alloy_and_grafana_use_same_loki() -> None:
    port = load("loki/loki.yaml")["server"]["http_listen_port"]
    (source,) = load("grafana/provisioning/datasources/loki.yaml")["datasources"]
    assert source["url"] == f"http://loki:{port}"
    assert f'url = "http://loki:{port}/loki/api/v1/push"' in ALLOY
    assert "loki" in load("logs.yaml")["services"]


def test_alloy_has_no_access_to_docker_socket() -> None:
    alloy = load("logs.yaml")["services"]["alloy"]
    assert "docker.sock" not in str(alloy)
    assert [volume for volume in alloy["volumes"] if not volume.endswith(":ro")] == [
        "alloy-data:/var/lib/alloy/data"
    ]
