"""Malformed and hostile HTTP requests, byte by byte as they go over the connection."""

import json
from collections.abc import Callable, Mapping

from tests import pictures
from tests.fuzz.hostile import HTML, zeros

PHOTO = pictures.PHOTO_PATH.read_bytes()
BOUNDARY = b"limit"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
OCTETS = {"Content-Type": "application/octet-stream"}

Make = Callable[[str, Mapping[str, str]], bytes]


def request(
    path: str,
    headers: Mapping[str, str | int],
    body: bytes = b"",
    *,
    length: int | str | None = -1,
    method: str = "POST",
) -> bytes:
    """A request; `length` is the Content-Length that it claims, its own if not given, None for no such header."""
    lines: dict[str, str | int] = {"Host": "localhost", "Connection": "close", **headers}
    if length is not None:
        lines = lines | {"Content-Length": len(body) if length == -1 else length}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def part(data: bytes, disposition: bytes, *more: bytes) -> bytes:
    head = b"\r\n".join((b"Content-Disposition: form-data; " + disposition, *more))
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes, end: bytes = b"--" + BOUNDARY + b"--\r\n") -> bytes:
    return b"".join(parts) + end


def file(field: str, filename: bytes, data: bytes = PHOTO) -> bytes:
    return part(data, b'name="' + field.encode() + b'"; filename="' + filename + b'"', b"Content-Type: image/png")


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def sent(
    heads: Mapping[str, str | int] | None = None,
    body: bytes = PHOTO,
    *,
    length: int | str | None = -1,
    method: str = "POST",
    more: str = "",
) -> Make:
    return lambda path, headers: request(
        path + more, {**headers, **OCTETS, **(heads or {})}, body, length=length, method=method
    )


def in_chunks(body: bytes) -> Make:
    return sent({"Transfer-Encoding": "chunked"}, body, length=None)


def changed(what: bytes, by: bytes) -> Make:
    return lambda path, headers: sent()(path, headers).replace(what, by)


def verbatim(data: bytes) -> Make:
    return lambda *_: data


FILENAMES = {
    "upwards": b"../../../../etc/passwd",
    "upwards, encoded": b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "windows": rb"..\\..\\windows\\system32\\cmd.exe",
    "nul": b"cat.png\0.exe",
    "line ends": b"a%0d%0aSet-Cookie: x=1",
    "markup": b"<img src=x onerror=alert(1)>.png",
    "template": b"{{7*7}}${7*7}.png",
    "right to left": "gpj.\u202egnp.exe".encode(),
    "long": b"a" * 30_000,
    "unicode": "кіт-🐈-ﷺ.png".encode(),
    "no utf-8": b"\xff\xfe\xfa.png",
    "quotes": rb"a\"b\"; name=\"other",
    "device": b"CON",
    "a query": b"cat.png?x=1#y",
    "dot": b".",
}


def with_file(filename: bytes, field: str) -> Make:
    return lambda path, headers: request(path, {**headers, **FORM}, form(file(field, filename)))


def body_as(content_type: str, body: bytes = PHOTO) -> Make:
    return lambda path, headers: request(path, {**headers, "Content-Type": content_type}, body)


def of_form(*parts: bytes, end: bytes = b"--" + BOUNDARY + b"--\r\n", content_type: str = FORM["Content-Type"]) -> Make:
    return body_as(content_type, form(*parts, end=end))


def everything(field: str) -> dict[str, Make]:
    """All of them, for a service whose form field is `field`."""
    photo = file(field, b"cat.png")
    return {
        **{f"file name: {name}": with_file(filename, field) for name, filename in FILENAMES.items()},
        # What the body calls itself
        **{
            f"a picture called {name or 'nothing'}": body_as(name)
            for name in (
                "",
                "image/jpeg",
                "text/html",
                "application/json",
                "text/plain; charset=utf-16",
                "x",
                "/",
                "a" * 500,
            )
        },
        "json": body_as("application/json", json.dumps({"image": "x", "data": [1] * 1000}).encode()),
        "deep json": body_as("application/json", b"[" * 100_000),
        "json called a picture": body_as("image/png", b'{"image": "iVBORw0KGgo="}'),
        "text as a form's address": body_as("application/x-www-form-urlencoded", b"image=http%3A%2F%2F127.0.0.1%2F"),
        "html": body_as("image/png", HTML),
        "a compressed body": sent({"Content-Encoding": "gzip"}, zeros(50_000_000)),
        # Lengths
        "no body": sent(body=b""),
        "no length": sent(body=b"", length=None),
        "a longer length": sent(length=len(PHOTO) + 1000),
        "a shorter length": sent(length=100),
        "a negative length": sent(length="-1"),
        "a length in words": sent(length="many"),
        "a length of 2**70": sent(length=2**70),
        "two lengths": sent({"content-length": 5}),
        # Forms
        "a form without boundary": of_form(photo, content_type="multipart/form-data"),
        "a form with an empty boundary": of_form(photo, content_type="multipart/form-data; boundary="),
        "a form with another boundary": of_form(photo, content_type="multipart/form-data; boundary=other"),
        "a form with a boundary of 3,000": of_form(photo, content_type="multipart/form-data; boundary=" + "b" * 3000),
        "a form without end": of_form(photo, end=b""),
        "a form cut in a part's head": of_form(photo, end=b"--limit\r\nContent-Dispo"),
        "a form of nothing": of_form(),
        "a form that is no form": of_form(end=PHOTO),
        "a form in a form": of_form(part(form(photo), b'name="x"', b"Content-Type: multipart/mixed; boundary=limit")),
        "a form of 3,000 parts": of_form(*[file(field, b"cat.png")] * 300, *[part(b"x", b'name="x"')] * 2700),
        "a form of 3,000 empty parts": of_form(*[part(b"", b"")] * 3000),
        "a part without a head": of_form(b"--limit\r\n\r\n" + PHOTO + b"\r\n"),
        "a part without a disposition": of_form(b"--limit\r\nContent-Type: image/png\r\n\r\n" + PHOTO + b"\r\n"),
        "a part with a head of 1 MB": of_form(part(PHOTO, b'name="image"', b"X-Long: " + b"a" * 1_000_000)),
        "a part with 10,000 heads": of_form(part(PHOTO, b'name="image"', *[b"X: y"] * 10_000)),
        "a part in base64": of_form(
            part(b"iVBORw0KGgo=", b'name="image"; filename="a.png"', b"Content-Transfer-Encoding: base64")
        ),
        "a part in an encoding that is none": of_form(
            part(PHOTO, b'name="image"; filename="a.png"', b"Content-Type: text/plain; charset=nonsense")
        ),
        "a field of another name": of_form(file("picture", b"cat.png")),
        "a field without file": of_form(part(PHOTO, f'name="{field}"'.encode())),
        "a field of 2 MB without file": of_form(part(bytes(2_000_000), f'name="{field}"'.encode())),
        "a field of a name in utf-8": of_form(part(PHOTO, 'name="зображення"; filename="a"'.encode())),
        "a field of every name": of_form(*[part(b"x", b'name="n%d"' % index) for index in range(900)]),
        "a file that is empty": of_form(file(field, b"cat.png", b"")),
        "a file without a name": of_form(file(field, b"")),
        "a good picture and 40 bad": of_form(photo, *[file(field, b"bad.png", b"\x89PNG bad")] * 31),
        # Chunks
        "chunks": in_chunks(chunks(PHOTO[:1000], PHOTO[1000:])),
        "chunks of one byte": in_chunks(chunks(*[b"x"] * 20_000)),
        "chunks without end": in_chunks(chunks(PHOTO)[:-5]),
        "chunks of no length": in_chunks(b"zz\r\n" + PHOTO),
        "chunks of negative length": in_chunks(b"-5\r\n" + PHOTO),
        "chunks of 2**64": in_chunks(b"ffffffffffffffff\r\n" + PHOTO),
        "chunks with long extensions": in_chunks(b"1;" + b"a" * 100_000 + b"\r\nx\r\n0\r\n\r\n"),
        "chunks with trailers": in_chunks(chunks(PHOTO)[:-2] + b"Authorization: x\r\nContent-Length: 5\r\n\r\n"),
        "an unknown transfer coding": sent({"Transfer-Encoding": "nonsense"}, length=None),
        "chunks and a length": sent({"Transfer-Encoding": "chunked"}, chunks(PHOTO)),
        "chunks, said twice": sent({"Transfer-Encoding": "chunked, chunked"}, chunks(PHOTO), length=None),
        # Heads
        "a request id with line ends": sent({"X-Request-ID": "a%0d%0ab\tc"}),
        "a request id of 5,000": sent({"X-Request-ID": "a" * 5000}),
        "a language that is none": sent({"Accept-Language": "../../etc;q=nan, " + "x-" * 500}, b"no picture"),
        "2,000 heads": sent({f"X-{index}": "y" for index in range(2000)}),
        "a head of 100 kB": sent({"X-Long": "a" * 100_000}),
        "a head that is folded": sent({"X-Fold": "a\r\n b"}),
        "a head with a nul": sent({"X-Nul": "a\0b"}),
        "a head with a blank in its name": sent({"X Blank": "y"}),
        "no host": changed(b"Host: localhost\r\n", b""),
        "a host with a path": sent({"Host": "evil.example/../x"}),
        "expect 100": sent({"Expect": "100-continue"}),
        "expect nonsense": sent({"Expect": "nonsense"}),
        "upgrade": sent({"Connection": "Upgrade, close", "Upgrade": "h2c", "HTTP2-Settings": ""}),
        # First lines
        "no http": verbatim(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
        "http/2": verbatim(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(50)),
        "http/0.9": verbatim(b"GET /\r\n\r\n"),
        "http/9.9": changed(b"HTTP/1.1", b"HTTP/9.9"),
        "a method that is none": sent(method="BREW"),
        "trace": sent(body=b"", method="TRACE"),
        "put": sent(method="PUT"),
        "delete": sent(body=b"", method="DELETE"),
        "a path of 100 kB": sent(more="?" + "a" * 100_000),
        "a path that is no utf-8": sent(more="%ff%fe%00"),
        "a path upwards": sent(more="/../../../../etc/passwd"),
        "a query that is none": sent(more="?top_k=%00&top_k=-1&%&=&top_k=1e9"),
        "a whole address": changed(b"POST ", b"POST http://169.254.169.254"),
        # The handler's own
        "picture lengths": sent({"X-Picture-Lengths": "5,-5"}),
        "picture lengths of 5,000 digits": sent({"X-Picture-Lengths": "9" * 5000}),
        "explain and manifest at once": sent(
            {"explain": "True", "X-Model-Manifest": "true", "X-Probe": "true"}, body=b"-"
        ),
    }
