"""How a run uses the machine that it is on."""

import ctypes
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Final, TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")

# Parameters of glibc's mallopt (malloc.h) and what they are set to.
KEEP_FREED_MEMORY: Final = {
    "M_MMAP_MAX": (-4, 0),  # large blocks come from the heap as well
    "M_TRIM_THRESHOLD": (-1, -1),  # which is never given back
    "M_TOP_PAD": (-2, 2**28),  # and grows in large steps
}


def computes_bfloat16(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 numbers; other CPUs take several times as long as for float32."""
    able = torch.cpu.get_capabilities()
    return device.type != "cpu" or any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 what bears it, where that is faster."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_bfloat16(device))


def use_machine(threads: int) -> None:
    """Compute with so many threads, 0 for every core, and keep memory that is freed.

    Every step allocates the same hundreds of megabytes again. Given back to the system in between, as glibc does by
    default, each page is zeroed anew: on two cores this took 22 % of the compact recipe's time.
    """
    torch.set_num_threads(threads or os.cpu_count() or 1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        for parameter, value in KEEP_FREED_MEMORY.values():
            mallopt(parameter, value)


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Start threads in which torch computes without further ones."""

    def alone() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the number over when it first reads it

    workers = ThreadPoolExecutor(threads, initializer=alone)
    ready = Barrier(threads)
    list(workers.map(lambda _: ready.wait(), range(threads)))  # a pool starts no second thread while one is idle
    torch.set_num_threads(threads)
    return workers


def side_by_side(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Do the parts of a job in as many threads as torch has, each part in one thread; give their results in order.

    Torch by itself shares out every operation and waits for all threads after each. Where each goes its own way, a
    core that is held up, or slower, holds up no other: this takes a fifth off the compact recipe's time.
    """
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def part_done(part: Part) -> Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):  # else each thread has its own modes
            return work(part)

    threads = torch.get_num_threads()
    return list(_workers(threads).map(part_done, parts) if threads > 1 else map(work, parts))
