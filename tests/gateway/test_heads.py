import pytest

from gateway import heads, languages
from gateway.heads import read_head, without_expect


def head(*lines):
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def test_a_request_line_is_read():
    read = read_head(head("POST /api/v1/classify?top=3 HTTP/1.1", "Host: test"))
    assert (read.method, read.path, read.place) == ("POST", "/api/v1/classify", "/api/")
    assert (read.body_bytes, read.closes, read.expects, read.request_id, read.origin) == (0, False, False, "", "")


@pytest.mark.parametrize(
    ("lines", "body_bytes"),
    [
        (["Content-Length: 17"], 17),
        (["cOnTeNt-LeNgTh:\t17 "], 17),
        (["Content-Length: 17", "Content-Length: 17"], None),
        (["Content-Length: +17"], None),
        (["Content-Length : 17"], None),
        (["Content-Length: 17, 17"], None),
        (["Transfer-Encoding: chunked"], None),
        (["Content-Length: 17", "Transfer-Encoding: chunked"], None),
        (["X-Note: Content-Length: 17"], 0),
    ],
)
def test_a_length_counts_only_where_it_is_told_once_and_plainly(lines, body_bytes):
    assert read_head(head("POST / HTTP/1.1", *lines)).body_bytes == body_bytes


@pytest.mark.parametrize(
    ("lines", "closes"),
    [
        (["GET / HTTP/1.1"], False),
        (["GET / HTTP/1.0"], True),
        (["GET / HTTP/1.1", "Connection: Close"], True),
        (["GET /?q=connection:%20close HTTP/1.1", "X-Version: HTTP/1.0"], False),
    ],
)
def test_who_wants_no_more_of_a_connection_is_known(lines, closes):
    assert read_head(head(*lines)).closes is closes


def test_a_request_id_that_is_none_is_not_taken():
    assert read_head(head("POST / HTTP/1.1", "X-Request-Id: one.2-three")).request_id == "one.2-three"
    assert read_head(head("POST / HTTP/1.1", "X-Request-Id: <script>")).request_id == ""


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("", {"Accept-Language": "uk"}),
        ("", {"Accept-Language": "UK-ua, en;q=0.8"}),
        ("", {"Accept-Language": "en, uk;q=0.5"}),
        ("", {"Accept-Language": "ru, uk;q=0.9"}),
        ("", {"Accept-Language": "uk;q=nonsense, en"}),
        ("", {"Accept-Language": "uk", "Cookie": "a=b; language=en"}),
        ("", {"Accept-Language": "en", "Cookie": "language=uk; a=b"}),
        ("", {"Accept-Language": "en", "Cookie": "mylanguage=uk; language=ukr"}),
        ("", {"X-Page-Language": "en", "Cookie": "language=uk"}),
        ("", {"Cookie": "a=\xff; language=uk"}),
        ("", {"X-Page-Language": "uk", "Cookie": "language=en"}),
        ("", {"X-Page-Language": "de", "Cookie": "language=uk"}),
        ("?language=en", {"X-Page-Language": "uk"}),
        ("?top_k=3&language=uk", {"X-Page-Language": "en"}),
        ("?language=de&language=uk", {"X-Page-Language": "uk"}),
        ("?mylanguage=uk", {}),
    ],
)
def test_a_head_is_answered_in_the_language_of_the_application(app, query, headers):
    lines = [f"POST /api/v1/classify{query} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with app.test_request_context(f"/api/v1/classify{query}", headers=headers):
        assert read_head(head(*lines)).is_ukrainian == (languages.current() == "uk")


def test_to_be_told_to_go_on_can_be_left_out():
    data = head("POST / HTTP/1.1", "Expect: 100-Continue", "Content-Length: 17")
    assert read_head(data).expects
    assert without_expect(data) == head("POST / HTTP/1.1", "Content-Length: 17")


def test_heads_are_remembered_unless_they_are_large():
    small, large = head("POST / HTTP/1.1"), head("POST / HTTP/1.1", "X-Padding: " + "x" * heads.LARGEST_REMEMBERED)
    assert read_head(small) is read_head(bytes(bytearray(small)))
    assert read_head(large) == read_head(large)
    assert read_head(large) is not read_head(large)
