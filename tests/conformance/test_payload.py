"""Payloads are bytes that happen to be JSON: what was sent is what is read, to the byte (issue 2, design 3.2)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .daemon import Api, refused

TEXTS = [
    "null", "true", "0", "-0", "1.0", "1e2", "1E+2", "-1.5e-10", "0.1000", "9" * 400, "1e400", "-1e-999",
    '""', '"é"', '"\\u00e9"', '"\\/"', '"\\ud83d\\ude00"', '"🎈"', '"\\u0000"', '"\u2028\x7f"',
    "[]", "[ ]", "[1 , 2]", "[\n\t1\r\n]", "{}", '{ "b" : 1, "a" : 2 }', '{"a":1,"a":2}', '{"":{"":[{}]}}',
    '"' + "x" * 300 + '"', '"' + "y" * 70_000 + '"', "[" * 200 + "]" * 200,
]  # fmt: skip

BROKEN = [
    "", "01", "1.", "+1", ".5", "1e", "NaN", "Infinity", "'a'", '"a', '"\\x41"', '"\\u12"', "[1,]", '{"a"}',
    "{1:2}", '{"a":1,}', "tru", "nul", '"\n"', '"\x01"', "[1 2]", "1,", "/**/1", "\ufeff1", "\xa01",
]  # fmt: skip


def _append(api: Api, topic: str, texts: list[str], meta: str = "") -> None:
    tail = f',"meta":{meta}' if meta else ""
    body = '{"records":[' + ",".join(f'{{"data":{text}{tail}}}' for text in texts) + "]}"
    response = api.post_raw(f"/v0/topics/{topic}", body.encode())
    assert response.status_code in (200, 201), response.text


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_data_and_meta_come_back_to_the_byte(api: Api, topic: str, text: str) -> None:
    """White space, forms of numbers, escapes, order and doubles of keys: nothing is re-encoded."""
    meta = text if len(text) < 16_384 else '{ "n" : 1.0 }'
    _append(api, topic, [text], meta)
    expected = b"" if meta == "null" else meta.encode()
    assert api.texts(topic) == [(text.encode(), expected)]


def test_space_around_a_value_is_not_the_value(api: Api, topic: str) -> None:
    """The text of a payload begins and ends with its value, so its size does not hang on the envelope."""
    api.post_raw(f"/v0/topics/{topic}", b' { "records" : [ { "data" :  [1, 2]\n , "meta" :\t"m" } ] } ')
    assert api.texts(topic) == [(b"[1, 2]", b'"m"')]
    assert api.state(topic)["bytes"] == 9


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_json_is_refused(api: Api, topic: str, text: str) -> None:
    """A payload that is no JSON would break every reader's page: it is not let in, as data or as meta."""
    for body in (f'{{"records":[{{"data":{text}}}]}}', f'{{"records":[{{"data":1,"meta":{text}}}]}}'):
        refused(api.post_raw(f"/v0/topics/{topic}", body.encode()), 400, "invalid_request")
    refused(api.get(f"/v0/topics/{topic}"), 404, "topic_not_found")


@pytest.mark.parametrize("raw", [b"\xff", b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b"\x00"])
def test_what_is_no_utf8_is_refused(api: Api, topic: str, raw: bytes) -> None:
    """Bytes that are no UTF-8 are refused before they are stored."""
    body = b'{"records":[{"data":' + raw + b"}]}"
    refused(api.post_raw(f"/v0/topics/{topic}", body), 400, "invalid_request")


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\ud800x", "\\ud83d\\ud83d"])
@pytest.mark.parametrize("field", ["data", "meta", "tag", "node"])
def test_half_a_character_is_no_text(api: Api, topic: str, field: str, half: str) -> None:
    """A lone surrogate is no text in any encoding, and half of the world's parsers fail on it: it is not let in."""
    body = f'{{"records":[{{"data":1,"{field}":"{half}"}}]}}'
    refused(api.post_raw(f"/v0/topics/{topic}", body.encode()), 400, "invalid_request")


@pytest.mark.parametrize("levels", [1000, 100_000])
def test_deep_nesting_never_breaks_the_node(api: Api, topic: str, levels: int) -> None:
    """Too deep is refused; what is let in comes back."""
    text = "[" * levels + "]" * levels
    response = api.post_raw(f"/v0/topics/{topic}", f'{{"records":[{{"data":{text}}}]}}')
    if response.status_code == 400:
        refused(response, 400, "invalid_request")
    else:
        assert api.texts(topic) == [(text.encode(), b"")]
    assert api.told("GET", "/v0/health")["status"] == "ok"


_space = st.sampled_from(["", "", " ", "\n", "\t ", "\r\n"])
_number = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
_characters = st.characters(exclude_categories=["Cs"])
_string = st.text(_characters, max_size=20).map(lambda s: json.dumps(s, ensure_ascii=len(s) % 2 == 0)) | st.from_regex(
    r'"(\\["\\/bfnrt]|\\u[0-9abcefABCEF][0-9a-fA-F]{3}|[a-z])*"', fullmatch=True
)


def _inside(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    item = st.tuples(_space, value, _space).map("".join)
    member = st.tuples(_space, _string, _space, st.just(":"), _space, value).map("".join)
    return st.lists(item, max_size=4).map(lambda parts: f"[{','.join(parts)}]") | st.lists(member, max_size=4).map(
        lambda parts: f"{{{','.join(parts)}}}"
    )


_json_text = st.recursive(st.sampled_from(["null", "true", "false"]) | _number | _string, _inside, max_leaves=8)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(_json_text, min_size=1, max_size=12))
def test_any_json_text_round_trips(api: Api, texts: list[str]) -> None:
    """Whatever the grammar of JSON allows, every byte of it comes back, in order."""
    api.delete("/v0/topics/round-trip")
    _append(api, "round-trip", texts)
    assert [data for data, _ in api.texts("round-trip")] == [text.encode() for text in texts]
    assert api.state("round-trip")["bytes"] == sum(len(text.encode()) for text in texts)
