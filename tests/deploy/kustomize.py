"""As much of kustomize as the project's files use: resources, a namespace and images.

kustomize itself is in no package that a pinned set-up could install. A field that is not understood here is an error,
and where kubectl is at hand test_kubernetes.py compares with what it renders.
"""

from typing import Any

import yaml

UNDERSTOOD = {"apiVersion", "kind", "namespace", "resources", "images"}
WITHOUT_NAMESPACE = {"Namespace"}


def render(folder):
    """The resources that `kubectl apply -k` would send."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(kustomization) - UNDERSTOOD
    assert not unknown, f"{folder}/kustomization.yaml uses {unknown}, which tests/deploy/kustomize.py does not know"
    resources: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        path = folder / name
        resources += render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    images = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in kustomization.get("images", [])}
    for resource in resources:
        if resource["kind"] not in WITHOUT_NAMESPACE:
            resource["metadata"]["namespace"] = kustomization["namespace"]
        for container in containers(resource):
            container["image"] = images.get(container["image"], container["image"])
    return resources


def containers(resource):
    """The containers of a workload, sidecars included; none of anything else."""
    template = resource.get("spec", {}).get("template", {}).get("spec", {})
    return template.get("initContainers", []) + template.get("containers", [])
