"""The Kubernetes manifests, as far as they can be judged without a cluster: whole, and true of each other and of the
programs."""

import re

import pytest
import yaml
from conftest import run

FOLDER = "deploy/kubernetes"
APPS = {"app.kubernetes.io/name": "evoke"}


@pytest.fixture(scope="module")
def kustomization(source_dir):
    return yaml.safe_load((source_dir / FOLDER / "kustomization.yaml").read_text())


@pytest.fixture(scope="module")
def objects(source_dir, kustomization):
    """(kind, name) -> object, of all that the kustomization names."""
    made = {}
    for resource in kustomization["resources"]:
        for one in yaml.safe_load_all((source_dir / FOLDER / resource).read_text()):
            made[one["kind"], one["metadata"]["name"]] = one
    return made


@pytest.fixture(scope="module")
def pod(objects):
    return objects["StatefulSet", "evoke"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


@pytest.fixture(scope="module")
def config(source_dir):
    text = (source_dir / FOLDER / "evoked.toml").read_text()
    return dict(re.findall(r"^([a-z-]+) = (.+)$", text, re.MULTILINE)), text


def test_every_file_is_named_and_every_name_a_file(source_dir, kustomization):
    generated = [name for one in kustomization["configMapGenerator"] for name in one["files"]]
    named = set(kustomization["resources"]) | set(generated) | {"kustomization.yaml", "README.md", "secret.example.yaml"}
    assert named == {path.name for path in (source_dir / FOLDER).iterdir()}


def test_every_object_says_which_api_it_is_of(objects):
    assert {kind: one["apiVersion"] for (kind, _), one in objects.items()} == {
        "ServiceAccount": "v1", "Service": "v1", "StatefulSet": "apps/v1", "PodDisruptionBudget": "policy/v1",
        "NetworkPolicy": "networking.k8s.io/v1", "ServiceMonitor": "monitoring.coreos.com/v1"}


def test_selectors_select_the_pod(objects, pod):
    assert pod["metadata"]["labels"] == APPS
    stateful = objects["StatefulSet", "evoke"]["spec"]
    selectors = [stateful["selector"]["matchLabels"], objects["PodDisruptionBudget", "evoke"]["spec"]["selector"]["matchLabels"],
                 objects["NetworkPolicy", "evoke"]["spec"]["podSelector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for (kind, _), one in objects.items() if kind == "Service"]
    assert selectors == [APPS] * 5
    assert stateful["serviceName"] in [name for kind, name in objects if kind == "Service"]
    assert pod["spec"]["serviceAccountName"] in [name for kind, name in objects if kind == "ServiceAccount"]
    # Of services, and of those with its port one only: no figure is scraped twice.
    monitor = objects["ServiceMonitor", "evoke"]["spec"]
    scraped = [one for (kind, _), one in objects.items() if kind == "Service" and
               monitor["endpoints"][0]["port"] in [port["name"] for port in one["spec"]["ports"]]]
    assert len(scraped) == 1 and monitor["selector"]["matchLabels"].items() <= scraped[0]["metadata"]["labels"].items()


def test_nobody_needs_the_label_of_the_server_to_call_it(objects, kustomization):
    assert not any(one.get("includeSelectors") for one in kustomization["labels"])
    clients = objects["NetworkPolicy", "evoke"]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert clients == {"evoke-client": "true"}


def test_ports_are_those_that_the_server_listens_on(objects, container, config):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config[0]["listen"] == '["0.0.0.0:%d"]' % ports["grpc"] and config[0]["http-listen"] == '"0.0.0.0:%d"' % ports["http"]
    for (kind, _), one in objects.items():
        if kind == "Service":
            assert all(port["targetPort"] in ports and port["port"] == ports[port["name"]] for port in one["spec"]["ports"])
    for rule in objects["NetworkPolicy", "evoke"]["spec"]["ingress"]:
        assert all(port["port"] in ports for port in rule["ports"])


def test_probes_ask_services_that_the_server_has(container, source_dir):
    protos = (source_dir / "proto/evoke/v1/admin_service.proto").read_text()
    assert re.search(r"^package evoke.v1;", protos, re.MULTILINE) and re.search(r"^service AdminService ", protos, re.MULTILINE)
    for probe in ("startupProbe", "livenessProbe"):  # what is loading is alive
        assert container[probe]["grpc"] == {"port": 7380, "service": "evoke.v1.AdminService"}
    assert container["readinessProbe"]["grpc"] == {"port": 7380}


def test_the_server_takes_the_configuration_and_the_secret(build_dir, source_dir, container, config, tmp_path):
    secret = yaml.safe_load((source_dir / FOLDER / "secret.example.yaml").read_text())
    (tmp_path / "tokens").write_text(secret["stringData"]["tokens"])
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert config[0]["tokens"] == '"%s/tokens"' % mounts["secret"] and config[0]["data-dir"] == '"%s"' % mounts["data"]
    assert container["args"] == ["--config", mounts["config"] + "/evoked.toml"]
    there = tmp_path / "evoked.toml"
    there.write_text(config[1].replace(mounts["secret"], str(tmp_path)))
    program = build_dir / "bin" / container["command"][0]
    assert run(program, "--config", there, "--check-config") == "the configuration is right\n"
    # Without tokens it would refuse to listen to others: this is what the secret is for.
    there.write_text(re.sub("^tokens.*", "", config[1], flags=re.MULTILINE))
    assert "0.0.0.0:7380" in run(program, "--config", there, "--check-config", code=2)


def test_volumes_are_there_and_only_the_data_can_be_written(objects, pod, container, kustomization, source_dir):
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in objects["StatefulSet", "evoke"]["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes) | claims
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] in volumes)
    assert volumes["config"]["configMap"]["name"] == kustomization["configMapGenerator"][0]["name"]
    secret = yaml.safe_load((source_dir / FOLDER / "secret.example.yaml").read_text())
    assert volumes["secret"]["secret"]["secretName"] == secret["metadata"]["name"]
    guard, context = container["securityContext"], pod["spec"]["securityContext"]
    assert guard["readOnlyRootFilesystem"] and not guard["allowPrivilegeEscalation"] and guard["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsNonRoot"] and context["fsGroup"] == context["runAsGroup"]


def test_the_pod_is_given_longer_to_stop_than_a_drain_takes(build_dir, pod):
    printed = run(build_dir / "bin/evoked", "--print-config", "--data-dir", "x")
    drain = int(re.search(r'^drain-timeout = "(\d+)s"$', printed, re.MULTILINE).group(1))
    assert pod["spec"]["terminationGracePeriodSeconds"] >= drain + 15
