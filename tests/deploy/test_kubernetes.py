"""The manifests against Kubernetes' own schemas, and against what they promise; no cluster is needed."""

import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from gateway.settings import Settings
from tests.deploy.conftest import DEPLOY
from tests.deploy.kustomize import containers, render

BASE = DEPLOY / "kubernetes" / "base"
FOLDERS = {folder.name: folder for folder in (BASE, *sorted((DEPLOY / "kubernetes" / "overlays").iterdir()))}
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
KUBECTL = shutil.which("kubectl")

# The Prometheus operator's kinds are in none of Kubernetes' schemas.
FOREIGN = {"PodMonitor"}

# What a restricted pod may not have, from the Pod Security Standards.
HOST = ("hostNetwork", "hostPID", "hostIPC")

by_folder = pytest.mark.parametrize("name", FOLDERS)


@pytest.fixture(scope="module")
def base():
    return {resource["kind"]: resource for resource in render(BASE)}


@pytest.fixture(scope="module")
def pod(base):
    return base["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def named(base):
    return {container["name"]: container for container in containers(base["Deployment"])}


def ports(container):
    return {port["name"]: port["containerPort"] for port in container["ports"]}


@by_folder
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_resource_fits_kubernetes_schema(name, version):
    resources = [resource for resource in render(FOLDERS[name]) if resource["kind"] not in FOREIGN]
    assert resources
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_schema_tells_a_slip(base):
    wrong = base["Service"] | {"spec": base["Service"]["spec"] | {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="selectors"):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


if KUBECTL:

    @by_folder
    def test_kubectl_renders_the_same(name):
        command = [str(KUBECTL), "kustomize", str(FOLDERS[name])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        theirs = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)}
        assert theirs == {(each["kind"], each["metadata"]["name"]): each for each in render(FOLDERS[name])}


@by_folder
def test_everything_is_in_the_namespace_that_admits_restricted_pods_only(name):
    resources = render(FOLDERS[name])
    [namespace] = [resource for resource in resources if resource["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = {each["metadata"]["namespace"] for each in resources if each is not namespace}
    assert others == {namespace["metadata"]["name"]}


def test_the_pod_is_nobody_and_has_no_token(pod, base):
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is base["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == base["ServiceAccount"]["metadata"]["name"]
    assert not any(pod.get(each) for each in HOST)


@pytest.mark.parametrize("name", ["gateway", "torchserve"])
def test_a_container_is_locked(named, name):
    container = named[name]
    locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == locked
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    tag = container["image"].rpartition(":")[2]
    assert tag[:1].isdigit()  # a version, not latest
    assert all("hostPort" not in port for port in container["ports"])


def test_all_that_can_be_written_is_memory_with_a_limit(pod, named):
    for volume in pod["volumes"]:
        assert volume["emptyDir"]["medium"] == "Memory", volume["name"]
        assert volume["emptyDir"]["sizeLimit"], volume["name"]
    for container in named.values():
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts == {"/tmp", "/run/cifar10"}


def test_only_the_two_have_the_key_and_only_torchserve_writes_it(pod, named):
    users = {
        container["name"]: mount.get("readOnly", False)
        for container in named.values()
        for mount in container["volumeMounts"]
        if mount["name"] == "keys"
    }
    assert users == {"torchserve": False, "gateway": True}
    private = [
        mount["name"] for each in named.values() for mount in each["volumeMounts"] if mount["mountPath"] == "/tmp"
    ]
    assert len(set(private)) == 2


def test_the_gateway_understands_its_environment(named, monkeypatch):
    for variable in named["gateway"]["env"]:
        field = variable["name"].removeprefix("GATEWAY_").lower()
        assert field in Settings.model_fields, f"{variable['name']} is no setting of the gateway"
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = Settings()
    assert settings.port == ports(named["gateway"])["http"]
    mounts = {mount["mountPath"] for mount in named["gateway"]["volumeMounts"]}
    assert str(settings.key_file.parent) in mounts


def test_torchserve_starts_first_and_stops_last(pod, named):
    [sidecar] = pod["initContainers"]
    assert sidecar["name"] == "torchserve"
    assert sidecar["restartPolicy"] == "Always"
    # Its start must not wait for the gateway, which is started afterwards.
    assert ports(sidecar)[sidecar["startupProbe"]["httpGet"]["port"]] == 8082
    grace = named["gateway"]["lifecycle"]["preStop"]["sleep"]["seconds"] + Settings().stop_seconds
    assert pod["terminationGracePeriodSeconds"] > grace + 10


def test_probes_ask_for_what_they_are_to_tell(named):
    gateway, torchserve = named["gateway"], named["torchserve"]
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # A gateway that waits for TorchServe lives; a TorchServe that answers no prediction is started anew.
    assert torchserve["livenessProbe"]["httpGet"] == {"path": "/readyz", "port": ports(gateway)["http"]}
    assert torchserve["livenessProbe"]["timeoutSeconds"] > Settings().answer_timeout_seconds
    assert torchserve["livenessProbe"]["periodSeconds"] * torchserve["livenessProbe"]["failureThreshold"] >= 120


def test_management_and_inference_are_closed_to_all(base, named):
    policy = base["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    opened = {port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]}
    assert set(opened) == {8000, 8082}
    assert opened[8082] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert set(opened) == {port for container in named.values() for port in ports(container).values()}


def test_the_service_leads_to_the_gateway_only(base, named):
    spec = base["Service"]["spec"]
    assert spec["type"] == "ClusterIP"
    assert [ports(named["gateway"]).get(port["targetPort"]) for port in spec["ports"]] == [8000]


def test_all_speak_of_the_same_pods(base):
    labels = base["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert base["Service"]["spec"]["selector"] == labels
    for kind, field in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        assert base[kind]["spec"][field] == {"matchLabels": labels}
    for spread in base["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"] == {"matchLabels": labels}


def test_the_autoscaler_watches_what_costs(base, named):
    spec = base["HorizontalPodAutoscaler"]["spec"]
    assert spec["scaleTargetRef"]["name"] == base["Deployment"]["metadata"]["name"]
    assert "replicas" not in base["Deployment"]["spec"]
    [metric] = spec["metrics"]
    watched = named[metric["containerResource"]["container"]]
    assert metric["containerResource"]["name"] in watched["resources"]["requests"]
    # One may be taken away at any time.
    assert spec["minReplicas"] > base["PodDisruptionBudget"]["spec"]["maxUnavailable"]


def test_the_ingress_leads_to_the_service_and_takes_what_the_gateway_takes():
    ingress = {resource["kind"]: resource for resource in render(FOLDERS["ingress"])}
    [rule] = ingress["Ingress"]["spec"]["rules"]
    [path] = rule["http"]["paths"]
    service = ingress["Service"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]
    assert ingress["Ingress"]["spec"]["tls"][0]["hosts"] == [rule["host"]]
    megabytes = ingress["Ingress"]["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(megabytes.removesuffix("m")) * 2**20 >= Settings().max_request_bytes


def test_the_pod_monitor_names_ports_and_jobs_that_there_are(named):
    monitored = {resource["kind"]: resource for resource in render(FOLDERS["prometheus-operator"])}
    prometheus = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yml").read_text())
    port_of = {name: name_of_port for name, each in named.items() for name_of_port in ports(each)}
    spec = monitored["PodMonitor"]["spec"]
    jobs = {end["relabelings"][0]["replacement"]: end["port"] for end in spec["podMetricsEndpoints"]}
    assert jobs == port_of
    assert set(jobs) == {job["job_name"] for job in prometheus["scrape_configs"]}
    assert spec["selector"]["matchLabels"] == monitored["Deployment"]["spec"]["template"]["metadata"]["labels"]
