"""The value of the last expression, display(), figures."""

import json

import pytest


def parts(bundle):
    return {p.mime_type: p.data for p in bundle.parts}


@pytest.mark.parametrize("code, text", [
    ("1 + 1", "2"), ("'a'", "'a'"), ("x = 3\nx", "3"), ("[1,\n 2]", "[1, 2]"), ("(lambda: 5)()", "5"),
    ("def f(): return 6\nf()", "6"), ("...", "Ellipsis"), ("'ä€𝄞'", "'ä€𝄞'"),
])
def test_value_of_the_last_expression(client, session, code, text):
    got = client.execute(code, session).ok("")
    assert parts(got.result.value)["text/plain"].decode() == text


@pytest.mark.parametrize("code", ["None", "x = 1", "print('o')", "def f(): pass", "pass", "",
                                  "for i in range(3): i", "if True: 5", "# comment"])
def test_no_value(client, session, code):
    assert not client.execute(code, session).ok().result.HasField("value")


def test_silent_does_not_evaluate_for_display(client, session):
    assert not client.execute("1 + 1", session, silent=True).ok().result.HasField("value")


def test_underscore_is_the_last_value(client, session):
    client.execute("6 * 7", session).ok()
    client.execute("print(_)", session).ok("42\n")


def test_statements_before_the_expression_run_once_and_in_order(client, session):
    got = client.execute("n = 0\nn += 1\nprint(n)\nn", session).ok("1\n")
    assert parts(got.result.value)["text/plain"] == b"1"


RICH = """
class Rich:
    def __repr__(self): return 'plain'
    def _repr_html_(self): return '<b>html</b>'
    def _repr_markdown_(self): return '**md**'
    def _repr_svg_(self): return '<svg/>'
    def _repr_png_(self): return b'\\x89PNG'
    def _repr_latex_(self): return '$x$'
    def _repr_json_(self): return {'a': 1}
"""


def test_representations_of_a_rich_value(client, session):
    got = client.execute(RICH + "Rich()", session).ok()
    found = parts(got.result.value)
    assert found["text/plain"] == b"plain"
    assert found["text/html"] == b"<b>html</b>"
    assert found["text/markdown"] == b"**md**"
    assert found["image/svg+xml"] == b"<svg/>"
    assert found["image/png"] == b"\x89PNG"
    assert found["text/latex"] == b"$x$"
    assert json.loads(found["application/json"]) == {"a": 1}


def test_mimebundle(client, session):
    code = "class M:\n    def _repr_mimebundle_(self, **kw):\n" \
           "        return {'text/x-own': 'mine', 'text/plain': 'p'}\nM()"
    found = parts(client.execute(code, session).ok().result.value)
    assert found == {"text/x-own": b"mine", "text/plain": b"p"}


@pytest.mark.parametrize("body", [
    "raise ValueError", "return 5", "return None", "raise KeyboardInterrupt", "raise SystemExit",
    "return chr(0xd800)", "1/0"])
def test_hostile_representations_do_not_break_the_result(client, session, body):
    code = f"class H:\n    def __repr__(self): {body}\n    def _repr_html_(self): {body}\nH()"
    got = client.execute(code, session)
    assert got.result.session_alive
    assert got.status in ("OK", "ERROR")
    client.execute("print('fine')", session).ok("fine\n")


def test_display_events_come_in_order_with_the_output(client, session):
    got = client.execute("print('a')\ndisplay('one', 2)\nprint('b')\ndisplay({'k': 1})", session)
    kinds = []
    for event in got.ok().events:
        kind = event.WhichOneof("event")
        kinds.append(event.output.data if kind == "output" else kind)
    assert kinds == ["started", b"a\n", "display", "display", b"b\n", "display", "result"]
    assert [parts(d.bundle)["text/plain"] for d in got.displays] == [b"'one'", b"2", b"{'k': 1}"]


def test_display_can_be_updated_and_cleared(client, session):
    code = "display(1, display_id='d')\nupdate_display(2, display_id='d')\nclear_output()\n" \
           "clear_output(wait=True)"
    got = client.execute(code, session).ok()
    first, second = got.displays
    assert first.display_id == second.display_id == "d"
    assert not first.update and second.update
    assert [c.wait for c in got.of_kind("clear_output")] == [False, True]


def test_figures_are_displayed_as_png(client, session):
    pytest.importorskip("matplotlib")
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()\nplt.figure()\n" \
           "plt.plot([3, 2, 1])"
    got = client.execute(code, session).ok()
    images = [parts(d.bundle)["image/png"] for d in got.displays]
    assert len(images) == 2
    assert all(i.startswith(b"\x89PNG\r\n") for i in images)
    client.execute("print(plt.get_fignums(), plt.get_backend().lower())", session).ok("[] agg\n")


def test_displays_of_many_kinds_survive_a_reattach(client, session):
    got = client.execute("for i in range(50):\n    print(i)\n    display(i)", session).ok()
    again = client.attach(session, got.execution_id)
    assert [d.SerializeToString(deterministic=True) for d in again.displays] == [
        d.SerializeToString(deterministic=True) for d in got.displays]


def test_numpy_and_pandas_like_values(client, session):
    pytest.importorskip("numpy")
    got = client.execute("import numpy as np\nnp.arange(3)", session).ok()
    assert parts(got.result.value)["text/plain"] == b"array([0, 1, 2])"


def test_changed_files_are_reported_when_asked_for(client, session):
    client.execute("open('old', 'w').write('1')\nopen('same', 'w').write('1')", session).ok()
    code = "open('new', 'w').write('12345')\nopen('old', 'w').write('222')"
    got = client.execute(code, session, report_changed_files=True).ok()
    assert {f.path: f.size_bytes for f in got.result.changed_files} == {"new": 5, "old": 3}
    assert not client.execute("open('x', 'w')", session).ok().result.changed_files
