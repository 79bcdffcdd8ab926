"""The one name rule: what a raw name means, and where the file of a metric lies."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.carbon_names import normalised

from carbonpy.errors import MetricError
from carbonpy.metric import MAX_NODE_BYTES, canonical, encoded, is_tagged, parse_tags, relative_path, tags_of

VECTORS = json.loads((Path(__file__).parent / "vectors" / "tag_normalisation.json").read_text())
NORMALISED = VECTORS["TaggedSeries.parse(metric).path (TAG_RELAY_NORMALIZED)"]

#: Characters that mean something in a name come often.
names = st.text(st.one_of(st.sampled_from('ab.;=~/{}",\\!^ é_'), st.characters()), max_size=40)
openmetrics = st.builds(
    lambda name, tags: name + "{" + ",".join(f'{tag}="{value}"' for tag, value in tags) + "}",
    st.text("ab.~/;=", min_size=1, max_size=4),
    st.lists(st.tuples(st.text('ab=;"', max_size=3), st.text('ab={};",\\~', max_size=6)), max_size=3),
)
raws = st.one_of(names, openmetrics, openmetrics.map(lambda name: name + ";name=x"), openmetrics.map(lambda n: n + "."))


def refused(raw: str) -> bool:
    try:
        canonical(raw)
    except MetricError:
        return True
    return False


@pytest.mark.parametrize("raw", NORMALISED)
def test_tagged_names_get_the_form_that_carbon_gives_them(raw: str) -> None:
    if "normalised" in NORMALISED[raw]:
        assert canonical(raw) == NORMALISED[raw]["normalised"]
    else:
        assert canonical(raw) == raw
        with pytest.raises(MetricError):
            parse_tags(raw)


@settings(max_examples=1000, deadline=None)
@given(raws)
@example('a;z=c{d="e"}')
@example('m{a="{t=\\"v\\"}"}')
@example('a{b="c"};name=x')
@example('x{a="b"}.')
@example(".~a")
@example("~/~a")
@example('a{b="c"};z="};d=e')
def test_a_canonical_name_means_itself(raw: str) -> None:
    if not refused(raw):
        assert canonical(canonical(raw)) == canonical(raw)


@settings(max_examples=1000, deadline=None)
@given(raws, st.booleans())
@example("a/../../etc/passwd", True)
@example("/etc/passwd", True)
@example(";" + "../" * 9 + "x", False)
@example(";.a", False)
@example("x;a=" + "é" * 200, False)
@example("é" * 127, True)
def test_no_name_leads_out_of_the_data_directory_or_to_a_hidden_file(raw: str, hash_only: bool) -> None:
    if refused(raw):
        return
    path = relative_path(canonical(raw), hash_only)
    assert path.endswith(".wsp") and not path.startswith("/") and "\0" not in path
    for component in path.split("/"):
        assert component and not component.startswith(".")
        assert len(component.encode()) <= 255


@given(st.text(st.characters(categories=["Cs", "Cc", "Ll"]), max_size=5))
def test_every_text_is_a_metric_or_refused_with_a_sentence(raw: str) -> None:
    try:
        relative_path(canonical(raw))
    except MetricError as error:
        assert ";" in str(error)


@settings(max_examples=300)
@given(raws)
def test_the_tags_of_a_metric_are_those_it_is_made_of(raw: str) -> None:
    if refused(raw):
        return
    metric = canonical(raw)
    tags = tags_of(metric)
    if len(tags) > 1:
        assert metric == tags.pop("name") + "".join(sorted(f";{tag}={value}" for tag, value in tags.items()))
    elif not is_tagged(metric):
        assert tags == {"name": metric}


@pytest.mark.parametrize("raw", ["a..b", ".a.b", "a.b.", "a/b", "/a//b/", "~a.b", "~.a.b", "a./.b"])
def test_names_that_carbon_keeps_in_one_file_are_one_metric(raw: str) -> None:
    assert canonical(raw) == "a.b"


@pytest.mark.parametrize("raw", ["", ".", "~", "/", "~./~", "a\nb", "a\x7fb", "a\x85b", "\ud800", "a\0"])
def test_what_cannot_be_a_metric_is_refused(raw: str) -> None:
    with pytest.raises(MetricError):
        canonical(raw)


def test_length_is_counted_in_bytes() -> None:
    assert canonical("é.é", max_bytes=5) == "é.é"
    with pytest.raises(MetricError, match="longer than 4 bytes"):
        canonical("é.é", max_bytes=4)
    assert canonical("é" * (MAX_NODE_BYTES // 2)) == "é" * (MAX_NODE_BYTES // 2)
    with pytest.raises(MetricError, match="node"):
        canonical("a." + "é" * (MAX_NODE_BYTES // 2 + 1))


@pytest.mark.parametrize(
    "metric, path",
    [
        ("a", "a.wsp"),
        ("servers.web01.cpu", "servers/web01/cpu.wsp"),
        (
            "stats.example.counts;tag1=value1",
            "_tagged/872/252/872252dcead671982862f82a3b440f02aa8f525dd6d0f2921de0dc2b3e874ad0.wsp",
        ),
        (
            "some.metric;tag1=value2;tag2=value.2",
            "_tagged/eff/aae/effaae5b55950b150a7493d2f5430772ca2460bf7cccb4d9e523643df54c010f.wsp",
        ),
    ],
)
def test_files_lie_where_carbon_puts_them(metric: str, path: str) -> None:
    assert relative_path(metric) == path


def test_a_readable_leaf_gives_way_to_the_hash_when_it_cannot_be_a_file_name() -> None:
    assert encoded("a.b;c=d.e", hash_only=False).endswith(".a_DOT_b;c=d_DOT_e")
    for metric in ("a.b;c=d/e", "a;b=" + "c" * MAX_NODE_BYTES):
        assert encoded(metric, hash_only=False) == encoded(metric, hash_only=True)


def test_carbon_gives_names_the_same_form_and_the_same_file(tmp_path: Path) -> None:
    choose = Random(7)
    values = ("", "v", "~v", "w.x", "v=w")
    raws = list(NORMALISED)
    for _ in range(3000):
        text = "".join(
            choose.choices(
                ("a", "b.c", "~", ";", ";x=", "=", "{", '="', '"', ",", '"}', "!", "é", "name", "\\"),
                k=choose.randint(1, 12),
            )
        )
        raws.append(text)
        tags = [
            choose.choice("abcn~é") + choose.choice(("", "ame", "-", "!")) + "=" + choose.choice(values)
            for _ in range(choose.randint(1, 4))
        ]
        raws.append(choose.choice(("m", "m.n", "~m", "")) + "".join(f";{tag}" for tag in tags))
        pairs = (tag.split("=", 1) for tag in tags)
        raws.append(
            choose.choice(("m", "m.n", "~m", "")) + "{" + ",".join(f'{tag}="{value}"' for tag, value in pairs) + "}"
        )
    compared = tagged = 0
    for raw, (form, hashed, readable) in zip(raws, normalised(raws, tmp_path), strict=True):
        if refused(raw):
            assert not form.strip("~."), raw
            continue
        ours = canonical(raw)
        if '"}' in raw and ";" in raw:
            continue  # carbon reads these once as one form and once as the other
        compared += 1
        tagged += ";" in form
        if ";" in form:
            assert ours == form, raw
            assert relative_path(ours) == hashed + ".wsp"
            assert relative_path(ours, hash_only=False) == readable + ".wsp"
        else:
            mended = ".".join(node for node in form.lstrip("~.").split(".") if node)
            assert ours == mended, raw
            assert ours != form or relative_path(ours) == hashed + ".wsp"
    assert compared > 6000 and tagged > 2000
