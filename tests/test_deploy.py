"""The promise: what docs/deploy/ has to start from is well made and fits the daemon, and
docs/operations.md explains it: each alert stands on metrics that exist, and each says what to do.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from timeline.errors import TimelineError
from timeline_server.config import config
from timeline_tools.main import main

ROOT: Final = Path(__file__).parent.parent
DEPLOY: Final = ROOT / "docs" / "deploy"
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text("utf-8")
METRICS: Final = (ROOT / "docs" / "metrics.md").read_text("utf-8")
UNIT: Final = DEPLOY / "timelined.service"
# What PromQL itself has, and the one metric that Prometheus makes.
WORDS: Final = {
    "up", "and", "or", "increase", "rate", "predict_linear", "histogram_quantile", "job", "code",
    "consumer", "timeline", "index",
}  # fmt: skip


def document(name: str) -> Any:  # noqa: ANN401  whatever YAML can hold
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


# --- systemd --------------------------------------------------------------------------------------


@pytest.fixture
def unit() -> dict[str, str]:
    """The section [Service], the last value of each name."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are
    parser.read_string(UNIT.read_text("utf-8"))
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    return dict(parser["Service"])


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    program = str(Path(sys.executable).parent / "timelined")
    assert Path(program).exists()
    copy.write_text(UNIT.read_text("utf-8").replace("/opt/timeline/bin/timelined", program))
    found = analyze("verify", str(copy))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_the_unit_exposes_little() -> None:
    found = analyze("security", "--offline=true", "--threshold=20", str(UNIT))
    assert found.returncode == 0, found.stdout[-200:]


def test_the_unit_starts_the_daemon_as_it_is_to_be_started(unit: dict[str, str]) -> None:
    program, *words = unit["ExecStart"].split()
    assert program.endswith("/timelined")
    directory = "/var/lib/" + unit["StateDirectory"]
    assert words == ["--config", "/etc/timelined.toml", "--data", directory]
    assert unit["User"] not in ("", "root")
    assert unit["RestartPreventExitStatus"] == "2", "which is a wrong option"
    least = next(each for each in config.options() if each.name == "maxclients").default + 1_000
    assert int(unit["LimitNOFILE"]) > least


# --- containers -----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words on one line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


def test_the_image_runs_without_root_compilers_and_surprises() -> None:
    found = instructions()
    stages = [number for number, (name, _) in enumerate(found) if name == "FROM"]
    assert len(stages) == 2, "what builds stays behind"
    final = found[stages[1] :]
    names = [name for name, _ in final]
    assert dict(final)["USER"].split(":")[0].isdigit(), "a number, which orchestrators can check"
    assert names.index("USER") > max(n for n, name in enumerate(names) if name == "RUN")
    assert not any("pip install" in words for name, words in final if name == "RUN")
    assert dict(final)["VOLUME"] == '["/data"]'
    assert dict(final)["ENTRYPOINT"] == '["timelined"]'
    assert "/readyz" in dict(final)["HEALTHCHECK"]


def test_the_image_is_built_of_what_there_is() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        each
        for name, words in instructions()
        if name == "COPY" and not words.startswith("--from")
        for each in words.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / each).exists() for each in copied)
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(package["tool"]["setuptools"]["package-dir"].values()) <= copied


def test_the_image_is_configured_by_variables_that_exist() -> None:
    (words,) = (words for name, words in instructions() if name == "ENV")
    variables = dict(each.split("=", 1) for each in words.split())
    given = {name: value for name, value in variables.items() if name.startswith("TIMELINED_")}
    found = config.load([], given)
    assert found.settings.data == "/data"
    health = dict(instructions())["HEALTHCHECK"]
    assert f"127.0.0.1:{found.settings.metrics_port}/readyz" in health


def test_the_composition_reaches_the_daemon_through_its_loopback() -> None:
    services = document("compose.yaml")["services"]
    daemon = services["timeline"]
    assert (DEPLOY / daemon["build"]["context"]).resolve() == ROOT
    assert (ROOT / daemon["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in daemon["ports"])
    assert not any(port.endswith(":7420") for port in daemon["ports"])
    watcher = services["prometheus"]
    assert watcher["network_mode"] == "service:timeline"
    mounted = [volume.split(":")[0] for volume in watcher["volumes"] if volume.startswith(".")]
    assert all((DEPLOY / path).is_file() for path in mounted)


# --- alerts ---------------------------------------------------------------------------------------


def rules() -> list[dict[str, Any]]:
    return [rule for group in document("alerts.yaml")["groups"] for rule in group["rules"]]


def explained() -> set[str]:
    """The names that Prometheus stores, of every metric in docs/metrics.md."""
    names: set[str] = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", METRICS, re.MULTILINE):
        names |= (
            {f"{name}_{end}" for end in ("bucket", "count", "sum")}
            if kind == "histogram"
            else {name}
        )
    return names


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_stands_on_metrics_that_exist(rule: dict[str, Any]) -> None:
    words = set(re.findall(r"(?<![\w\"])[a-z_]{2,}", rule["expr"]))
    metrics = words - WORDS
    assert metrics or rule["alert"] == "TimelineDown"
    assert metrics <= explained()
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_every_alert_is_explained_and_no_other() -> None:
    part = OPERATIONS.partition("## What the alerts mean")[2].partition("\n## ")[0]
    assert re.findall(r"^### (\w+)$", part, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_prometheus_is_told_where_both_are() -> None:
    found = document("prometheus.yaml")
    assert [(DEPLOY / name).is_file() for name in found["rule_files"]] == [True]
    (job,) = found["scrape_configs"]
    port = config.load(["--config", str(DEPLOY / "timelined.toml")], {}).settings.metrics_port
    assert job["job_name"] == "timeline", "which the alerts name"
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]


# --- the page -------------------------------------------------------------------------------------


def test_metrics_that_the_page_names_exist() -> None:
    used = set(re.findall(r"\btimeline_[a-z_]+\b", OPERATIONS))
    known = explained() | {name.removesuffix("_bucket") for name in explained()}
    assert used <= known | {option.name for option in config.options()}


def test_options_that_the_page_names_exist() -> None:
    known = {option.name for option in config.options()}
    named = set(re.findall(r"`((?!timeline_)[a-z_]+_(?:bytes|ms|format|limit))`", OPERATIONS))
    assert named
    assert named <= known


def test_errors_that_the_page_explains_exist() -> None:
    part = OPERATIONS.partition("## What to do at")[2]
    codes = {each.code for each in _family(TimelineError)}
    headings = re.findall(r"^### ([A-Z]{4,})$", part, re.MULTILINE)
    assert {"READONLY", "BUSY", "CORRUPT", "INDEXLAG"} <= set(headings) <= codes


def _family(kind: type[TimelineError]) -> set[type[TimelineError]]:
    return {kind}.union(*map(_family, kind.__subclasses__()))


def test_links_of_the_pages_lead_somewhere() -> None:
    for name in ("operations.md", "metrics.md", "configuration.md"):
        text = (ROOT / "docs" / name).read_text("utf-8")
        for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
            target = (ROOT / "docs" / (path or name)).resolve()
            assert target.exists(), f"{name} leads to {path}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                assert anchor in map(slug, headings), f"{name} leads to {path}#{anchor}"


def slug(heading: str) -> str:
    """The anchor that a heading has on the usual hosts."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_verbs_that_the_page_types_exist() -> None:
    typed = set(re.findall(r"^(?:.*\")?timeline ([a-z]+) ", OPERATIONS, re.MULTILINE))
    typed |= set(re.findall(r"`timeline ([a-z]+)[ `]", OPERATIONS))
    typed |= set(re.findall(r"\(timeline ([a-z]+) ", OPERATIONS))
    assert typed
    assert typed <= set(main.list_commands(click.Context(main)))
