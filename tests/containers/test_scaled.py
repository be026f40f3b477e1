"""Three TorchServes and two gateways behind a load balancer: what dies under load costs nobody an answer."""

import random
import time

import pytest

from tests.containers.conftest import Stack, add_to_report, run, stack
from tests.containers.load import Load
from tests.service import eventually


@pytest.fixture(scope="module")
def scaled(images):
    replicas = ("--scale", "torchserve=3", "--scale", "gateway=2")
    with stack("cifar10-scaled-test", "deploy/scaled/compose.yml", up=replicas) as running:
        yield running


def healthy(service: Stack, part: str, count: int) -> bool:
    filters = ("--filter", f"name={service.project}-{part}-", "--filter", "health=healthy")
    return len(run("docker", "ps", "-q", *filters).split()) == count


def predictions_by_replica(service: Stack) -> dict[str, int]:
    counts = {}
    for container in service.containers("torchserve"):
        counts[container[:12]] = run("docker", "logs", container).count('"event": "prediction"')
    return counts


def note(what: str, load: Load) -> None:
    lost = sum(load.outcomes.values()) - load.answered
    rate = load.answered / load.seconds
    add_to_report("scaled.md", f"| {what} | {load.answered:,} answered | {lost} lost | {rate:.0f} requests/s |")


def test_load_is_spread_over_all_replicas(scaled):
    before = predictions_by_replica(scaled)
    with Load(scaled.gateway, connections=6) as load:
        time.sleep(10)
        eventually(lambda: load.answered >= 300, 120)
    assert set(load.outcomes) == {"200"}
    after = predictions_by_replica(scaled)
    answered = sorted(after[name] - before[name] for name in after)
    by_replica = ", ".join(f"{count / load.seconds:.0f}" for count in answered)
    note(f"nothing killed; by TorchServe {by_replica} requests/s", load)
    assert len(answered) == 3
    assert answered[0] > 0.15 * load.answered


@pytest.mark.parametrize(("part", "count"), [("torchserve", 3), ("gateway", 2)])
def test_killing_replicas_under_load_loses_nothing(scaled, part, count):
    random.seed(part)
    with Load(scaled.gateway, connections=6) as load:
        eventually(lambda: load.answered > 50, 60)
        for _ in range(3):
            victim = random.choice(scaled.containers(part))
            run("docker", "kill", victim)
            so_far = load.answered
            eventually(lambda so_far=so_far: load.answered > so_far + 50, 60)
            run("docker", "start", victim)
            eventually(lambda: healthy(scaled, part, count), 120)
            time.sleep(2)  # until the name server and the balancer have seen it
    note(f"{part} killed and started again, 3 times", load)
    assert dict(load.outcomes) == {"200": load.answered}
