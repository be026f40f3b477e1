"""KServe's bodies: pictures in JSON by its inference protocols, v1 (`instances`) and v2 (`inputs`).

TorchServe has /v1/models/cifar10:predict and /v2/models/cifar10/infer answered by the same handler and does not tell it
which path a request took. No picture begins with a brace, so that the body says it.
"""

import base64
import binascii
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_PICTURES: Final = 64
"""In one request."""


MOST_DIMENSIONS: Final = 8
LONGEST_ID: Final = 1_000
"""Characters of a request's id, which its answer repeats: TorchServe kills a worker whose answer is too long."""


class KServeError(ValueError):
    """A body that is none of KServe's; the message says what it should be."""


@dataclass(frozen=True)
class KServeRequest:
    """The pictures of a request, and in which protocol its answer is to be."""

    protocol: int  # 1 or 2
    pictures: list[bytes]
    id: str = ""  # given back by v2

    @classmethod
    def read(cls, data: bytes | bytearray, *, one: bool = False) -> "KServeRequest | None":
        """Read a body; None for one that is no JSON object and so may be a picture.

        Raises:
            KServeError: it is JSON, but not of either protocol, or has more pictures than `one` where that is asked.
        """
        request = cls._read(data)
        if request and one and len(request.pictures) > 1:
            raise KServeError(f"{len(request.pictures)} pictures came; an explanation is made for one at a time.")
        return request

    @classmethod
    def _read(cls, data: bytes | bytearray) -> "KServeRequest | None":
        if data[:64].lstrip()[:1] != b"{":
            return None
        try:
            document = json.loads(data)
        except (ValueError, RecursionError, MemoryError) as error:
            raise KServeError("The body begins as JSON and is none, or one of too many parts.") from error
        if isinstance(instances := document.get("instances"), list):
            return cls(1, _decoded([_text_of(instance) for instance in instances]))
        if isinstance(inputs := document.get("inputs"), list):
            return cls(2, _decoded(_strings_of(inputs)), _id_of(document))
        raise KServeError(
            'JSON is read as KServe has it: {"instances": [{"b64": "…"}]} (v1), or {"inputs": [{"name": "image", '
            '"shape": [1], "datatype": "BYTES", "data": ["…"]}]} (v2), with pictures in base64.'
        )

    def answer(
        self, answers: Sequence[dict[str, Any]], name: str, version: str, *, explained: bool = False
    ) -> dict[str, Any]:
        """Put the pictures' answers into the protocol's form; a problem of one of them is that of the request."""
        for each in answers:
            if "status" in each:
                return each | {"error": each["detail"]}
        if self.protocol == 1:
            return {"explanations" if explained else "predictions": list(answers)}
        outputs = [
            _tensor("label", "BYTES", [each["label"] for each in answers]),
            _tensor("score", "FP32", [each["score"] for each in answers]),
            _tensor("in_scope", "BOOL", [each["in_scope"] for each in answers]),
            _tensor("in_scope_score", "FP32", [each["in_scope_score"] for each in answers]),
        ]
        if explained:
            explanations = [each["explanation"] for each in answers]
            strengths = explanations[0]["strengths"]
            edges = [edge for each in explanations for edge in each["region"].values()]
            values = [value for each in explanations for row in each["strengths"] for value in row]
            outputs.append(_tensor("region", "FP32", edges, 4))
            outputs.append(_tensor("strengths", "FP32", values, len(strengths), len(strengths[0])))
        id_member = {"id": self.id} if self.id else {}
        return {"model_name": name, "model_version": version} | id_member | {"outputs": outputs}


def _id_of(document: dict[str, Any]) -> str:
    text = str(document.get("id") or "")
    if len(text) > LONGEST_ID:
        raise KServeError(f"The id has more than {LONGEST_ID} characters.")
    return text


def _text_of(instance: Any) -> str:
    """Give an instance's base64: itself, or what it names as KServe's and TorchServe's examples do."""
    while isinstance(instance, dict):
        instance = next((instance[key] for key in ("b64", "data", "image_bytes") if key in instance), None)
    if not isinstance(instance, str):
        raise KServeError('Each of instances must be a picture in base64, as text or as {"b64": "…"}.')
    return instance


def _strings_of(inputs: list[Any]) -> list[str]:
    """Give the one input tensor's base64 texts."""
    tensor = inputs[0] if len(inputs) == 1 else None
    if not isinstance(tensor, dict) or tensor.get("datatype") != "BYTES" or not isinstance(tensor.get("data"), list):
        raise KServeError("There must be one input, of datatype BYTES, whose data are pictures in base64.")
    data: list[str] = tensor["data"]
    if not all(isinstance(each, str) for each in data):
        raise KServeError("The input's data must be texts, each a picture in base64.")
    shape = tensor.get("shape", [len(data)])
    # Checked before they are multiplied, which numbers of a million digits would make long.
    is_shape = isinstance(shape, list) and len(shape) <= MOST_DIMENSIONS
    if not is_shape or not all(isinstance(each, int) and -1 <= each <= MOST_PICTURES for each in shape):
        raise KServeError(
            f"The input's shape must be a list of at most {MOST_DIMENSIONS} whole numbers, none above {MOST_PICTURES}."
        )
    if -1 not in shape and math.prod(shape) != len(data):
        raise KServeError(f"The input's shape {shape} does not fit its {len(data)} texts.")
    return data


def _decoded(texts: list[str]) -> list[bytes]:
    if not 1 <= len(texts) <= MOST_PICTURES:
        raise KServeError(f"{len(texts)} pictures came; send 1 to {MOST_PICTURES}.")
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError) as error:
        raise KServeError(f"A picture is not in base64: {error}.") from error


def _tensor(name: str, datatype: str, data: list[Any], *inner: int) -> dict[str, Any]:
    count = len(data) // math.prod(inner)
    return {"name": name, "datatype": datatype, "shape": [count, *inner], "data": data}
