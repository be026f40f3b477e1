"""Just enough of protobuf's wire format for TorchServe's gRPC APIs, whose generated code is in no package."""

import grpc

INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService"
MANAGEMENT = "/org.pytorch.serve.grpc.management.ManagementAPIsService"
TIMEOUT = 60


def number(value):
    parts = []
    while True:
        value, low = value >> 7, value & 127
        parts.append(low | (128 if value else 0))
        if not value:
            return bytes(parts)


def text(field, value):
    """A field of bytes, a string or an inner message."""
    value = value.encode() if isinstance(value, str) else value
    return number(field << 3 | 2) + number(len(value)) + value


def whole(field, value):
    return number(field << 3) + number(value)


def picture(data):
    """A PredictionsRequest for the model with its input `data`."""
    return text(1, "cifar10") + text(3, text(1, "data") + text(2, data))


def call(port, method, message, headers):
    """Call a method; gives the status code's name and the answer's bytes."""
    metadata = [(name.lower(), value) for name, value in headers.items()]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        try:
            return "OK", ask(message, metadata=metadata, timeout=TIMEOUT)
        except grpc.RpcError as error:
            return error.code().name, b""
