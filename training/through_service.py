"""The accuracy that users get: every test picture sent as PNG through a running service."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import requests
from rich.console import Console
from rich.progress import track

from model.labels import LABELS
from training.data import DataError, Split
from training.pictures import png

PICTURES_A_REQUEST = 25
CONNECTIONS = 4


def accuracy_through_service(url: str, split: Split, console: Console) -> tuple[float, str]:
    """Give the share of a split that the service at `url` names right, and the SHA-256 of the weights that answered.

    Raises:
        DataError: the service cannot be reached, or does not answer every picture.
    """
    endpoint = f"{url.rstrip('/')}/api/v1/classify"
    batches = np.array_split(np.arange(len(split.labels)), max(1, len(split.labels) // PICTURES_A_REQUEST))

    def ask(indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> tuple[int, str]:
        files = [("image", (f"{index}.png", png(split.images[index]))) for index in indices]
        response = requests.post(endpoint, files=files, timeout=120)
        if not response.ok:
            raise DataError(f"{endpoint} answered {response.status_code}: {response.text[:200]}")
        answer = response.json()
        wanted = [LABELS[split.labels[index]] for index in indices]
        got = [result.get("label") for result in answer["results"]]
        return sum(a == b for a, b in zip(got, wanted, strict=True)), str(answer["model"]["sha256"])

    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            answers = list(track(pool.map(ask, batches), "asking the service", len(batches), console=console))
    except requests.RequestException as error:
        raise DataError(f"no answer from {endpoint}: {type(error).__name__}; is make serve running?") from error
    hashes = {sha256 for _, sha256 in answers}
    if len(hashes) != 1:
        raise DataError(f"several weights answered: {', '.join(sorted(hashes))}")
    return sum(right for right, _ in answers) / len(split.labels), hashes.pop()
