"""Parameters: forms of every kind become one ordered list, garbage becomes a QueryError or nothing."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonpy.errors import QueryError
from carbonpy.web.parameters import Parameters, parse

pairs_of_text = st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=12)), max_size=10)
no_controls = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"%'), min_size=1, max_size=8)


def grouped(pairs):
    parameters = Parameters(pairs)
    return {name: parameters.all(name) for name, _ in pairs}


@given(pairs_of_text, pairs_of_text)
def test_query_and_form_read_back_in_order(query, form):
    parameters = parse(
        urlencode(query, errors="replace").encode(), "application/x-www-form-urlencoded; charset=utf-8",
        urlencode(form, errors="replace").encode(), 100,
    )  # fmt: skip
    expected = [(n.encode(errors="replace").decode(), v.encode(errors="replace").decode()) for n, v in query + form]
    assert {name: parameters.all(name) for name, _ in expected} == grouped(expected)


@given(st.lists(st.tuples(no_controls, st.text(st.characters(exclude_categories=["Cs"]), max_size=30)), max_size=8))
def test_a_multipart_form_reads_back(pairs):
    boundary = "----boundary7d3f"
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in pairs
    )
    parameters = parse(b"", f'multipart/form-data; boundary="{boundary}"', body + f"--{boundary}--\r\n".encode(), 100)
    assert {name: parameters.all(name) for name, _ in pairs} == grouped(pairs)


@given(st.binary(max_size=80), st.binary(max_size=80), st.sampled_from(["multipart/form-data; boundary=x", "", "a/b"]))
def test_any_bytes_are_parameters_or_a_query_error(query, body, content_type):
    try:
        parse(query, content_type, body, 10)
    except QueryError as error:
        assert str(error)


def test_a_body_of_another_kind_is_ignored():
    parameters = parse(b"a=1&flag", "application/json", b'{"a": 2}', 10)
    assert (parameters.all("a"), parameters.last("flag", "-"), "flag" in parameters, "b" in parameters) == (
        ["1"],
        "",
        True,
        False,
    )


def test_numbers_are_checked_and_named():
    parameters = Parameters([("n", "7"), ("n", "8"), ("x", "0.5"), ("bad", "seven")])
    assert (parameters.integer("n"), parameters.integer("none", 3), parameters.number("x", 0)) == (8, 3, 0.5)
    with pytest.raises(QueryError, match="parameter bad is 'seven', not a whole number"):
        parameters.integer("bad")
    with pytest.raises(QueryError, match="parameter bad is 'seven', not a number"):
        parameters.number("bad", 1.0)


def test_too_many_parameters_are_refused_in_every_form():
    form = "application/x-www-form-urlencoded"
    with pytest.raises(QueryError, match="more than 3 parameters"):
        parse(b"a=1&b=2", form, b"c=1&d=2", 3)
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    with pytest.raises(QueryError, match="more than 3 parameters"):
        parse(b"", "multipart/form-data; boundary=x", part * 5 + b"--x--", 3)
    with pytest.raises(QueryError, match="no boundary"):
        parse(b"", "multipart/form-data", part, 3)
