"""What the code itself must not do."""

import ast
import importlib.metadata
import re
import tomllib

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.service import ROOT

SERVED = ("gateway", "handler", "launcher", "model", "operations")
SECRET = re.compile(r"key$|token|secret|password", re.IGNORECASE)
SOURCES = [path for folder in SERVED for path in sorted((ROOT / folder).rglob("*.py"))]


def names_in(node):
    return {
        getattr(each, attribute)
        for each in ast.walk(node)
        for attribute in ("id", "attr")
        if isinstance(getattr(each, attribute, None), str)
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_secret_is_compared_by_equality(path):
    """Whose time tells how much of it was right; hmac.compare_digest does not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.Name | ast.Attribute):
                    assert not any(SECRET.search(name) for name in names_in(side)), f"{path}:{node.lineno}"


def test_banditlike_rules_hold_for_all_that_serves_and_each_exception_says_why():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    for pattern, rules in lint["per-file-ignores"].items():
        if any(rule.startswith("S") and rule[1:2] in {"", *"123456789"} for rule in rules):
            assert pattern.startswith("tests"), pattern
    for path in SOURCES:
        for line in path.read_text().splitlines():
            if found := re.search(r"#\s*noqa:\s*([A-Z0-9, ]+)(.*)$", line):
                rules = [rule.strip() for rule in found[1].split(",")]
                if any(re.fullmatch(r"S\d+", rule) for rule in rules):
                    assert found[2].strip().startswith("#"), f"{path}: {line.strip()}"
            assert "# noqa\n" not in f"{line}\n", path


def locked(name):
    """The packages of a lock: version and hashes by name."""
    text = (ROOT / "requirements" / "locks" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=\w)", text.partition("\n")[2].strip())
    found = {}
    for entry in entries:
        requirement, *hashes = entry.split("--hash=")
        pin = Requirement(requirement.replace("\\", "").strip())
        found[canonicalize_name(pin.name)] = (pin, [each.strip(" \\\n") for each in hashes])
    return found


def closure(file, seen=None):
    """The names of everything that a requirements file asks for and what that needs, as installed here."""
    seen = set() if seen is None else seen
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements" / file).read_text().splitlines())
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-")]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if name in seen and not requirement.extras:
            continue
        seen.add(name)
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or any(Marker(str(needed.marker)).evaluate({"extra": extra}) for extra in extras):
                wanted.append(needed)
    return seen


@pytest.mark.parametrize("name", ["gateway", "torchserve"])
def test_the_images_install_exact_versions_with_hashes_and_nothing_else(name):
    pins = locked(name)
    constraints = {
        canonicalize_name(line.split("==")[0]): line.split("==")[1]
        for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    for package, (pin, hashes) in pins.items():
        [specifier] = pin.specifier
        assert specifier.operator == "==", package
        assert specifier.version == constraints.get(package, specifier.version), package
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), package
    # torch has other files on other indexes; its CUDA build's own needs come and go with it.
    free = {"torch", "triton", "cuda-bindings", "cuda-pathfinder", "cuda-toolkit"}
    missing = {each for each in closure(f"{name}.txt") - set(pins) - free if not each.startswith("nvidia-")}
    assert missing == set(), "run make locks"


@pytest.mark.parametrize(("file", "lock"), [("gateway/Dockerfile", "gateway"), ("handler/Dockerfile", "torchserve")])
def test_the_images_are_built_from_the_locks(file, lock):
    text = (ROOT / file).read_text().replace("\\\n", " ")
    assert re.search(rf"--no-deps\s+--require-hashes\s+-r \S*requirements/locks/{lock}\.txt", text)
    for line in text.splitlines():
        if "pip" in line and "install" in line and "requirements" in line:
            assert (
                "--require-hashes" in line or line.rstrip(" \\|").endswith("torch") or "constraints.txt torch" in line
            )
