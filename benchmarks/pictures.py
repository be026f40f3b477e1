"""What is sent: one photograph in three sizes."""

import io
from pathlib import Path
from typing import Final

from PIL import Image

from benchmarks.load import Request

PHOTOGRAPH: Final = Path(__file__).parent.parent / "gateway" / "static" / "samples" / "cat.jpg"
KINDS: Final = {
    "32x32 PNG": ((32, 32), "PNG"),
    "500x375 JPEG": ((500, 375), "JPEG"),
    "12-megapixel JPEG": ((4000, 3000), "JPEG"),
}


def pictures() -> dict[str, bytes]:
    """Give a file of each kind."""
    files = {}
    with Image.open(PHOTOGRAPH) as photograph:
        for kind, (size, file_format) in KINDS.items():
            buffer = io.BytesIO()
            photograph.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(buffer, file_format, quality=90)
            files[kind] = buffer.getvalue()
    return files


def form(url: str, picture: bytes, count: int, field: str = "image") -> Request:
    """Make a request of one picture many times over, as a form."""
    boundary = "benchmark"
    part = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="picture"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body = b"".join(part + picture + b"\r\n" for _ in range(count)) + f"--{boundary}--\r\n".encode()
    return Request.post(url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
