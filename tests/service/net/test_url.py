from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from service.net.url import BadUrl, parse

CORPUS = {
    "": "absolute",
    "example.com": "absolute",
    "//example.com/": "absolute",
    "https:example.com": "absolute",
    "https:/example.com": "absolute",
    "https:///example.com": "no host",
    "https://": "no host",
    "https://:443/": "no host",
    "https://?x": "no host",
    "ftp://example.com/": "scheme",
    "javascript://example.com/": "scheme",
    "file:///etc/passwd": "scheme",
    "gopher://example.com:70/": "scheme",
    "https://user@example.com/": "user name",
    "https://user:pass@example.com/": "user name",
    "https://example.com@169.254.169.254/": "user name",
    "https://example.com\\@169.254.169.254/": "backslash",
    "https://example.com/a\\b": "backslash",
    "https:\\\\example.com": "backslash",
    "https://example.com#@169.254.169.254/": "# part",
    "https://example.com/#": "# part",
    "https://exa%6dple.com/": "%",
    "https://[fe80::1%25eth0]/": "%",
    "https://0x7f000001/": "IPv4",
    "https://2130706433/": "IPv4",
    "https://127.1/": "IPv4",
    "https://127.0.1/": "IPv4",
    "https://0/": "IPv4",
    "https://0177.0.0.1/": "IPv4",
    "https://127.0.0.01/": "IPv4",
    "https://0x7f.0.0.1/": "IPv4",
    "https://127.0.0.0x1/": "IPv4",
    "https://256.1.1.1/": "IPv4",
    "https://1.2.3.4.5/": "IPv4",
    "https://example.123/": "IPv4",
    "https://127。0。0。1/": "other characters",
    "https://127\uff0e0\uff0e0\uff0e1/": "other characters",
    "https://\uff11\uff12\uff17.0.0.1/": "international",
    "https://①②⑦.0.0.1/": "international",
    "https://example.com./": "ends in a dot",
    "https://example.com../": "ends in a dot",
    "https://127.0.0.1./": "ends in a dot",
    "https://a..b/": "single dots",
    "https://.example.com/": "single dots",
    "https://-a.com/": "domain name",
    "https://a-.com/": "domain name",
    "https://a b.com/": "space",
    "https://exa$mple.com/": "domain name",
    "https://exa,mple.com/": "domain name",
    f"https://{'a' * 64}.com/": "domain name",
    f"https://{'a.' * 126}com/": "domain name",
    "https://xn--a/": "international",
    "https://xn--/": "international",
    "https://xn--\u00fc.com/": "international",
    "https://ex\u00adample.com/": "does not print",
    "https://example.com:0/": "port",
    "https://example.com:65536/": "port",
    "https://example.com:99999/": "port",
    "https://example.com:-1/": "port",
    "https://example.com:+443/": "port",
    "https://example.com:4_4_3/": "port",
    "https://example.com:\uff14\uff14\uff13/": "port",
    "https://example.com:/": "port",
    "https://example.com:443:443/": "port",
    "https://[::1/": "host and port",
    "https://::1/": "no host",
    "https://1::1/": "port",
    "https://[::1]x/": "host and port",
    "https://[127.0.0.1]/": "IPv6",
    "https://[]/": "IPv6",
    "https://[[::1]]/": "host and port",
    "https://[::g]/": "IPv6",
    " https://example.com/": "space",
    "https://example.com/ ": "space",
    "https://example.com/a b": "space",
    "https://example.com/\r\nHost: x": "does not print",
    "https://example.com/\t": "does not print",
    "https://example.com/\x00": "does not print",
    "https://example.com/\x7f": "does not print",
    "https://example.com/\u202e": "does not print",
    "https://example.com/\u2028": "does not print",
    "https://example.com/\ud800": "does not print",
    "https://\ud800.com/": "does not print",
    "https://example.com/" + "a" * 2048: "longer",
}


@pytest.mark.parametrize("url", CORPUS, ids=lambda url: ascii(url)[:60])
def test_trick_is_refused_with_its_reason(url: str) -> None:
    with pytest.raises(BadUrl) as caught:
        parse(url)
    assert CORPUS[url] in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://example.com", "https://example.com", "/"),
        ("HTTPS://EXAMPLE.com:443/A", "https://example.com", "/A"),
        ("https://example.com:0443/", "https://example.com", "/"),
        ("http://example.com:80", "http://example.com", "/"),
        ("http://example.com:443/", "http://example.com:443", "/"),
        ("https://example.com:8443?a=b", "https://example.com:8443", "/?a=b"),
        ("https://müller.de/ü?q=ü", "https://xn--mller-kva.de", "/%C3%BC?q=%C3%BC"),
        ("https://xn--mller-kva.de/", "https://xn--mller-kva.de", "/"),
        ("https://a_b.example.com/", "https://a_b.example.com", "/"),
        ("https://intranet/", "https://intranet", "/"),
        ("https://1.2.3.4/", "https://1.2.3.4", "/"),
        ("https://4.example.com/", "https://4.example.com", "/"),
        ("https://[2606:4700:0::1]:8443/x", "https://[2606:4700::1]:8443", "/x"),
        ("https://example.com/a%2Fb%20c?u=https://x@y/", "https://example.com", "/a%2Fb%20c?u=https://x@y/"),
        ("https://example.com//evil.test/", "https://example.com", "//evil.test/"),
    ],
)
def test_honest_url_is_taken_apart(url: str, origin: str, path: str) -> None:
    parts = parse(url)
    assert (parts.origin, parts.path) == (origin, path)


def test_literals_are_recognised() -> None:
    assert parse("https://1.2.3.4/").address == ip_address("1.2.3.4")
    assert parse("https://[::ffff:127.0.0.1]/").address == ip_address("::ffff:127.0.0.1")
    assert parse("https://example.com/").address is None


PIECES = st.sampled_from(
    [
        *(
            "https://",
            "http://",
            "a.com",
            "127.0.0.1",
            "[::1]",
            "@",
            ":",
            "/",
            "\\",
            "#",
            "?",
            "%",
            "%2f",
            "..",
            ".",
            "xn--",
        ),
        *("。", "0x7f", "1", "ü", "ß", "\ud800", "\x00", "443", "[", "]", "//", "&", "=", "\u200d", "I"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join), st.text().map("https://{}".format)))
def test_any_text_is_parsed_or_refused_and_another_parser_agrees(text: str) -> None:
    try:
        parts = parse(text)
    except BadUrl:
        return
    other = URL(parts.origin + parts.path, encoded=True)
    assert (other.scheme, other.raw_host, other.port) == (parts.scheme, parts.host, parts.port)
    assert other.raw_path_qs == parts.path
    assert parse(parts.origin + parts.path) == parts
