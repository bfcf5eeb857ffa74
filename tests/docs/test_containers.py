"""Image, Compose file and manifests in deploy/ are valid, safe, and fit the programs that they start."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dockerfile
import msgspec
import pytest
import yaml
from caddy import CADDY
from compose_spec import PyCompose
from deploying import PROGRAMS, SERVER_VARIABLES, find_metrics, list_metrics, parse

from piecework.protocol.messages import ScaleReply
from piecework.server.api.table import ENDPOINTS
from piecework.worker_agent.config.settings import VARIABLES, Settings

CONTAINERS, KUBERNETES = "deploy/containers", "deploy/kubernetes"
OVERLAYS = ("", "setup", "keda-prometheus", "keda-scale")
S3_VARIABLES = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
LONGEST_POLL_S = 20
USED = re.compile(r"\b(piecework|worker-agent)((?: [\w/$\"-]+)+)")
"""A command of ours in a script, as far as its words are plain."""


def list_commands(words):
    """Return our command lines among the words of a container's command: itself, or those of its script."""
    if words[0] in PROGRAMS:
        return [words]
    script = re.sub(r" \d?> .*", "", re.sub(r"\$\$\d", "x", words[-1]))
    return [shlex.split(name + rest) for name, rest in USED.findall(script)]


def check_command(words):
    """Let click read all that a container runs of ours; at least one line."""
    lines = list_commands(words)
    assert lines, words
    for program, *rest in lines:
        parse(
            PROGRAMS[program],
            ["worker" if last == "--scope" else word for last, word in zip(["", *rest], rest, strict=False)],
        )


def seconds(text):
    assert text.endswith("s")
    return float(text[:-1])


# --- The image ---


@pytest.fixture(scope="module")
def image(root):
    """The instructions of the Dockerfile, as BuildKit reads them: pairs of name and words."""
    return [
        (each.cmd.upper(), each.value) for each in dockerfile.parse_file(str(root / CONTAINERS / "Dockerfile"))
    ]


def test_the_image_runs_our_programs_as_nobody_special(image):
    last = image[max(index for index, (name, _) in enumerate(image) if name == "FROM") :]
    only = {name: words for name, words in last if name in {"USER", "CMD", "HEALTHCHECK", "STOPSIGNAL", "VOLUME"}}
    assert only["USER"] == ("10001:10001",)
    assert only["STOPSIGNAL"] == ("SIGTERM",)
    assert parse(PROGRAMS["piecework"], list(only["CMD"][1:])).params["log_format"] == "json"
    assert only["HEALTHCHECK"][-1].startswith("piecework ") or only["HEALTHCHECK"][-2:] == ("piecework", "ping")
    assert only["VOLUME"] == ("/data",)
    assert "ADD" not in {name for name, _ in image}


def test_what_the_image_sets_is_known(image):
    words = [word for name, words in image if name == "ENV" for word in words]
    names = {word.partition("=")[0] for word in words if word.startswith("PIECEWORK_")}
    assert names == {"PIECEWORK_HOST", "PIECEWORK_DATA", "PIECEWORK_WORKER_STATE"}
    assert names <= SERVER_VARIABLES | set(VARIABLES)


def test_what_the_image_is_built_from_is_sent(root):
    lines = (root / CONTAINERS / "Dockerfile.dockerignore").read_text().splitlines()
    left_out = {line for line in lines if line and not line.startswith("#")}
    links = {
        path.resolve().relative_to(root).as_posix() for path in (root / "piecework").iterdir() if path.is_symlink()
    }
    needed = {"piecework", "release", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", *links}
    assert len(links) > 3
    assert all((root / each).exists() for each in needed)
    assert not needed & left_out
    assert {".git", ".venv", "tests"} <= left_out


# --- Compose ---


@pytest.fixture(scope="module")
def compose(root):
    return yaml.safe_load((root / CONTAINERS / "compose.yaml").read_text())


def ours(compose):
    return {name: each for name, each in compose["services"].items() if each.get("image") == "piecework"}


def test_the_compose_file_keeps_the_specification(compose):
    plain = re.sub(
        r"\$\{\w+:([-?])([^}]*)\}", lambda found: found[2] if found[1] == "-" else "x", json.dumps(compose)
    )
    read = PyCompose.from_json(plain)
    read.validate()
    assert {"server", "agent-1", "agent-2", "postgres", "s3", "caddy"} < set(read.service_names())
    with pytest.raises(ValueError, match="imagge"):
        PyCompose.from_json('{"services": {"server": {"imagge": "piecework"}}}')


def test_services_have_no_more_rights_than_they_need(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert ("cap_add" in service) <= (name in {"postgres", "s3", "caddy"}), name
    assert compose["networks"]["inside"] == {"internal": True}


def test_only_loopback_is_listened_on_by_default(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 2
    for port in ports:
        assert re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", port).startswith("127.0.0.1:"), port


def test_our_services_start_what_there_is_with_known_settings(compose):
    assert ours(compose).keys() == {"server", "setup", "agent-1", "agent-2"}
    for name, service in ours(compose).items():
        if "command" in service:
            check_command(service["command"])
        known = set(VARIABLES) if name.startswith("agent") else SERVER_VARIABLES | S3_VARIABLES
        assert service["environment"].keys() <= known, name


def test_compose_gives_programs_time_to_stop(compose):
    services = compose["services"]
    for name in ("agent-1", "agent-2"):
        assert seconds(services[name]["stop_grace_period"]) > Settings.drain_timeout_s + LONGEST_POLL_S
    assert seconds(services["server"]["stop_grace_period"]) > 10


def test_secrets_come_from_a_file_that_git_does_not_take(root, compose):
    text = (root / CONTAINERS / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    offered = set(re.findall(r"^#?(\w+)=", (root / CONTAINERS / "env.example").read_text(), re.MULTILINE))
    assert asked == offered
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|KEY|TOKEN", name) or str(value).startswith("${"), name
    ignored = (root / ".gitignore").read_text().splitlines()
    assert ".env" in ignored


def test_files_that_compose_mounts_are_there(root, compose):
    mounts = [each.split(":") for service in compose["services"].values() for each in service.get("volumes", ())]
    files = [source for source, *_ in mounts if source.startswith(".")]
    assert len(files) >= 6
    assert all((root / CONTAINERS / file).is_file() for file in files)
    assert {source for source, *_ in mounts if source[0] != "."} == compose["volumes"].keys()


def test_caddy_takes_its_file(root, tmp_path):
    done = subprocess.run(
        [CADDY, "validate", "--adapter", "caddyfile", "--config", root / CONTAINERS / "Caddyfile"],
        env=os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


def test_prometheus_asks_server_and_agents_of_compose(root, compose):
    config = yaml.safe_load((root / CONTAINERS / "prometheus.yml").read_text())
    targets = {
        target for job in config["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    }
    ports = {
        name: each["environment"].get("PIECEWORK_WORKER_METRICS_PORT") for name, each in ours(compose).items()
    }
    agents = {f"{name}:{port}" for name, port in ports.items() if port}
    assert targets == {"server:8000", *agents}
    assert {job["job_name"] for job in config["scrape_configs"]} == {"piecework", "piecework-agents"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus")
def test_prometheus_takes_its_configuration(root, tmp_path):
    for file in (root / CONTAINERS / "prometheus.yml", root / "deploy/prometheus-rules.yml"):
        shutil.copy(file, tmp_path)
    command = ["promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_source_and_dashboard(root, compose):
    grafana = root / CONTAINERS / "grafana"
    [source] = yaml.safe_load((grafana / "source.yaml").read_text())["datasources"]
    assert urlsplit(source["url"]).hostname in compose["services"]
    [provider] = yaml.safe_load((grafana / "dashboards.yaml").read_text())["providers"]
    mounts = [each.split(":")[1] for each in compose["services"]["grafana"]["volumes"]]
    assert any(Path(mount).parent == Path(provider["options"]["path"]) for mount in mounts)
    variables = json.loads((root / "deploy/grafana-dashboard.json").read_text())["templating"]["list"]
    assert [each["query"] for each in variables if each["type"] == "datasource"] == [source["type"]]


# --- Kubernetes ---


def read_manifests(root, overlay):
    """Return the objects of a kustomization: of the files that it names."""
    folder = root / KUBERNETES / overlay
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [each for name in names for each in yaml.safe_load_all((folder / name).read_text())]


@pytest.fixture(scope="module")
def objects(root):
    return [each for overlay in OVERLAYS for each in read_manifests(root, overlay)]


def list_pods(objects):
    """Return the name and the specification of each pod, whatever makes it."""
    made = [(each["metadata"]["name"], each) for each in objects if each["kind"] in {"Deployment", "Pod"}]
    pods = {
        name: each["spec"]["template"]["spec"] if each["kind"] == "Deployment" else each["spec"]
        for name, each in made
    }
    assert pods.keys() == {"piecework-server", "piecework-agents", "piecework-setup"}
    return pods


def list_containers(pod):
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here: apt-get install kubernetes-client")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_what_kubernetes_takes(root, overlay):
    command = ["kubectl", "kustomize", root / KUBERNETES / overlay]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(read_manifests(root, overlay))
    assert {each["metadata"].get("namespace", "piecework") for each in built} == {"piecework"}
    images = re.findall(r"image: (\S+)", done.stdout)
    assert all(image.startswith("registry.example.org/piecework:") for image in images)


def test_manifests_keep_the_schemas_of_kubernetes(objects):
    validate = pytest.importorskip("kubernetes_validate", reason="100 MB: pip install kubernetes-validate")
    own = [each for each in objects if "keda.sh" not in each["apiVersion"]]
    assert len(own) > 8
    for each in own:
        validate.validate(each, validate.latest_version(), strict=True)


def test_pods_are_what_a_restricted_namespace_takes(objects):
    [namespace] = [each for each in objects if each["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in list_pods(objects).items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name  # else the Service piecework sets PIECEWORK_PORT
        for container in list_containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {each["mountPath"] for each in container["volumeMounts"]} == {"/data", "/tmp"}
            assert container["resources"]["limits"]["memory"]


def test_pods_start_what_there_is_with_known_settings(objects):
    for name, pod in list_pods(objects).items():
        for container in list_containers(pod):
            check_command(container["args"])
            names = {each["name"] for each in container.get("env", ())}
            assert names <= (set(VARIABLES) if name == "piecework-agents" else SERVER_VARIABLES), name


def test_probes_ask_paths_that_there_are(objects):
    [server] = list_pods(objects)["piecework-server"]["containers"]
    open_paths = {each.path for each in ENDPOINTS if each.method == "GET" and each.scope == "open"}
    paths = {name: server[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert set(paths.values()) <= open_paths
    assert (paths["livenessProbe"], paths["readinessProbe"]) == ("/healthz", "/readyz")


def test_kubernetes_gives_programs_time_to_stop(objects):
    pods = list_pods(objects)
    [agent] = pods["piecework-agents"]["containers"]
    env = {each["name"]: each.get("value") for each in agent["env"]}
    drain_s = float(env["PIECEWORK_WORKER_DRAIN_TIMEOUT_S"])
    assert pods["piecework-agents"]["terminationGracePeriodSeconds"] > drain_s + LONGEST_POLL_S
    before_s = float(pods["piecework-server"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pods["piecework-server"]["terminationGracePeriodSeconds"] > before_s + 10


def test_services_budgets_and_policies_mean_pods_that_there_are(objects):
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in objects if each["kind"] == "Deployment"]
    for each in objects:
        spec = each.get("spec", {})
        selector = spec.get("podSelector", spec.get("selector"))
        if each["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"}:
            assert selector.get("matchLabels", selector) in labels, each["metadata"]
    kinds = {each["kind"] for each in objects}
    assert {"Service", "PodDisruptionBudget", "NetworkPolicy"} < kinds
    assert "Secret" not in kinds


def test_autoscalers_ask_for_what_servers_tell(objects, documents):
    [agent] = list_pods(objects)["piecework-agents"]["containers"]
    slots = next(each["value"] for each in agent["env"] if each["name"] == "PIECEWORK_WORKER_SLOTS")
    scaled = [each["spec"] for each in objects if each["kind"] == "ScaledObject"]
    triggers = {spec["triggers"][0]["type"]: spec["triggers"][0]["metadata"] for spec in scaled}
    assert {spec["scaleTargetRef"]["name"] for spec in scaled} == {"piecework-agents"}
    assert find_metrics(triggers["prometheus"]["query"]) <= list_metrics(documents)
    assert triggers["prometheus"]["threshold"] == triggers["metrics-api"]["targetValue"] == slots
    url = urlsplit(triggers["metrics-api"]["url"])
    [endpoint] = [each for each in ENDPOINTS if (each.method, each.path) == ("GET", url.path)]
    assert parse_qs(url.query).keys() <= set(endpoint.query.__struct_fields__)
    assert triggers["metrics-api"]["valueLocation"] in {
        each.encode_name for each in msgspec.structs.fields(ScaleReply)
    }
    assert url.hostname == "piecework.piecework.svc"
