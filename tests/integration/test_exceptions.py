"""The exception report, against exception objects made to break it."""

import pytest
from support.api import ex

HOSTILE = {
    # name: (code, exc_type, a part of exc_message or None)
    "str raises": ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E",
                   "str() failed"),
    "str returns no string": ("class E(Exception):\n    def __str__(self): return 5\nraise E", "E",
                              "str() failed"),
    "str raises SystemExit": ("class E(Exception):\n    def __str__(self): raise SystemExit(3)\n"
                              "raise E", "E", None),
    "str raises KeyboardInterrupt": ("class E(Exception):\n    def __str__(self): "
                                     "raise KeyboardInterrupt\nraise E", "E", None),
    "repr raises": ("class A:\n    def __repr__(self): raise ValueError\nraise ValueError(A())",
                    "ValueError", None),
    "class lies": ("class E(Exception):\n    __class__ = property(lambda s: int)\nraise E('x')",
                   "E", "x"),
    "args is a property that raises": ("class E(Exception):\n    args = property(lambda s: 1/0)\n"
                                       "raise E", "E", None),
    "attributes raise": ("class E(Exception):\n    def __getattribute__(self, n): raise "
                         "RuntimeError(n)\nraise E('x')", "E", None),
    "evil name attribute": ("class E(Exception):\n    name = property(lambda s: 1/0)\n"
                            "    msg = obj = name\nraise E('x')", "E", "x"),
    "metaclass lies about the name": (
        "class M(type):\n    __name__ = property(lambda s: 1/0)\n"
        "    __module__ = __name__\nclass E(Exception, metaclass=M): pass\n"
        "raise E('x')", "E", "x"),
    "name with newlines": ("E = type('OK\\nOK', (Exception,), {})\nraise E('x')", "OK\nOK", "x"),
    "cause is its own": ("e = ValueError('x')\ne.__cause__ = e\nraise e", "ValueError", "x"),
    "cause in a ring": ("a, b = ValueError('a'), ValueError('b')\na.__cause__ = b\n"
                        "b.__cause__ = a\nraise a", "ValueError", "a"),
    "context chain of 20000": (
        "e = None\nfor i in range(20000):\n    n = ValueError(i)\n    n.__context__ = e\n    e = n\n"
        "raise e", "ValueError", "19999"),
    "group 200 deep": ("e = ValueError('leaf')\nfor i in range(200): e = ExceptionGroup('g', [e])\n"
                       "raise e", "ExceptionGroup", "g"),
    "group 20000 deep": ("e = ValueError('leaf')\n"
                         "for i in range(20000): e = ExceptionGroup('g', [e])\nraise e",
                         "ExceptionGroup", "g"),
    "group 20000 wide": ("raise ExceptionGroup('w', [ValueError(i) for i in range(20000)])",
                         "ExceptionGroup", "w"),
    "notes are no list": ("e = ValueError('x')\ne.__notes__ = 5\nraise e", "ValueError", "x"),
    "notes that raise": ("class N:\n    def __str__(self): 1/0\ne = ValueError('x')\n"
                         "e.__notes__ = [N(), 'good']\nraise e", "ValueError", "x"),
    "surrogates": ("raise ValueError('a\\ud800b')", "ValueError", "a"),
    "NUL": ("raise ValueError('a\\0b')", "ValueError", "a"),
    "huge message": ("raise ValueError('x' * 60_000_000)", "ValueError", "xxx"),
    "many arguments": ("raise ValueError(*range(100000))", "ValueError", None),
    "BaseException": ("class B(BaseException): pass\nraise B('x')", "B", "x"),
    "StopIteration": ("raise StopIteration('x')", "StopIteration", "x"),
    "GeneratorExit": ("raise GeneratorExit('x')", "GeneratorExit", "x"),
    "RecursionError": ("def f(): return f()\nf()", "RecursionError", "maximum recursion"),
    "MemoryError": ("x = bytearray(1 << 60)", "MemoryError", None),
    "traceback patched": ("import traceback\nfor n in dir(traceback):\n"
                          "    if callable(getattr(traceback, n)): setattr(traceback, n, None)\n"
                          "raise ValueError('x')", "ValueError", "x"),
    "builtins emptied": ("import builtins\nkeep = ValueError\nbuiltins.__dict__.clear()\n"
                         "raise keep('x')", "ValueError", "x"),
    "builtins replaced": ("import builtins\nfor n in ('str', 'repr', 'len', 'print', 'isinstance', "
                          "'getattr', 'type', 'open'): setattr(builtins, n, None)\n"
                          "raise ValueError('x')", "ValueError", "x"),
    "modules emptied": ("import sys\nsys.modules.clear()\nraise ValueError('x')", "ValueError", "x"),
    "modules poisoned": ("import sys\nfor n in ('traceback', 'linecache', 'io', 'os', 'codecs'): "
                         "sys.modules[n] = None\nraise ValueError('x')", "ValueError", "x"),
    "excepthook replaced": ("import sys\nsys.excepthook = None\nsys.unraisablehook = None\n"
                            "raise ValueError('x')", "ValueError", "x"),
    "trace function raises": ("import sys\ndef t(*a): raise RuntimeError('trace')\nsys.settrace(t)\n"
                              "def f(): pass\nf()", "RuntimeError", "trace"),
    "profile function that exits": ("import os, sys\nsys.setprofile(lambda *a: None)\n"
                                    "raise ValueError('x')", "ValueError", "x"),
    "codec error handlers replaced": (
        "import codecs\nfor n in ('strict', 'backslashreplace', 'replace', 'surrogateescape', "
        "'ignore'): codecs.register_error(n, lambda e: 1/0)\nraise ValueError('a\\ud800')",
        "ValueError", None),
    "gc callbacks that raise": ("import gc\ngc.callbacks.append(lambda *a: 1/0)\n"
                                "gc.set_threshold(1)\nraise ValueError('x')", "ValueError", "x"),
    "exits on every lookup": ("class S(str):\n    def __hash__(self): 1/0\n"
                              "raise ValueError(S('x'))", "ValueError", None),
    "no descriptors left": ("fds = []\nimport os\ntry:\n    while True: fds.append(os.dup(1))\n"
                            "except OSError: pass\nraise ValueError('x')", "ValueError", "x"),
    "del raises": ("class D:\n    def __del__(self): raise RuntimeError\nd = D()\ndel d\n"
                   "raise ValueError('x')", "ValueError", "x"),
    "recursion limit at the edge": ("import sys\nsys.setrecursionlimit(60)\nraise ValueError('x')",
                                    "ValueError", "x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_exceptions_are_reported_and_leave_the_session_alive(client, name):
    code, exc_type, message = HOSTILE[name]
    with client.session() as session:
        got = client.execute(code, session, timeout=60).expect("ERROR")
        result = got.result
        assert result.exc_type == exc_type
        assert message is None or message in result.exc_message
        assert result.session_alive
        assert result.traceback
        assert got.result.ByteSize() < 1 << 20
        after = client.execute("x = 2", session)
        assert after.status == "OK", after.result


def test_a_message_that_never_ends_is_cut_off_by_the_report_limit(client):
    """str() of the exception loops for ever, in code that had no time limit of its own."""
    code = "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E"
    got = client.execute(code)
    assert got.status == "CRASHED", got.result
    assert any("report" in w for w in got.result.warnings), got.result.warnings


def test_a_message_that_exits_is_no_ok(client):
    code = "import os\nclass E(Exception):\n    def __str__(self): os._exit(0)\nraise E"
    got = client.execute(code).expect("EXITED")
    assert not got.result.session_alive


SOURCES = {
    "syntax": ("def f(:", ("SyntaxError",)),
    "tabs": ("if 1:\n\tx=1\n        y=2", ("TabError",)),
    "indent": ("  x = 1", ("IndentationError",)),
    "braces": ("from __future__ import braces", ("SyntaxError",)),
    "return": ("return 5", ("SyntaxError",)),
    "await": ("await 5", ("SyntaxError",)),
    "1000 parentheses": ("(" * 1000 + ")" * 1000, ("SyntaxError", "MemoryError", "RecursionError")),
    "200000 minus signs": ("-" * 200000 + "1", ("MemoryError", "RecursionError", "SyntaxError")),
    "20000 lists": ("[" * 20000 + "]" * 20000, ("SyntaxError", "MemoryError", "RecursionError")),
    "100000 attributes": ("a" + ".a" * 100000, ("RecursionError", "MemoryError", "NameError")),
    "100000 sums": ("+".join(["1"] * 100000), ("RecursionError", "MemoryError")),
}


@pytest.mark.parametrize("name", SOURCES)
def test_source_that_does_not_compile_is_an_exception(client, session, name):
    code, types = SOURCES[name]
    result = client.execute(code, session).expect("ERROR").result
    assert result.exc_type in types
    assert result.session_alive
    client.execute("print('fine')", session).ok("fine\n")


@pytest.mark.parametrize("code, out", [
    ("\ufeffprint('bom')", "bom\n"), ("# -*- coding: latin-1 -*-\nprint('ä')", "ä\n"),
    ("# -*- coding: utf-7 -*-\nprint('+AGE-')", "+AGE-\n"), ("print(1)\rprint(2)\r\nprint(3)",
                                                            "1\n2\n3\n"),
    ("print('x')  # no newline at the end", "x\n"), ("\n\n\n", ""), ("", ""), ("#", ""),
    ("x = 1;", ""), ("print('a')\n\x0cprint('b')", "a\nb\n"),
    ("# coding: no-such-codec\nprint('cookie ignored')", "cookie ignored\n"),
])
def test_source_encodings_and_line_ends(client, session, code, out):
    """Source is UTF-8; a coding cookie can't make it mean something else."""
    client.execute(code, session).ok(out)


def test_line_numbers_of_syntax_errors(client, session):
    result = client.execute("x = 1\ny = = 2\n", session).expect("ERROR").result
    assert 'File "runfile.py", line 2' in result.traceback
    assert "    y = = 2\n" in result.traceback
    assert result.exc_info.attributes["msg"] == "invalid syntax"


def test_frames_and_source_of_functions_of_earlier_runs(client, session):
    client.execute("def old():\n    return 1 / 0  # here", session, filename="one.py").ok()
    result = client.execute("old()", session, filename="two.py").expect("ERROR").result
    assert 'File "two.py", line 1, in <module>' in result.traceback
    assert 'File "one.py", line 2, in old\n    return 1 / 0  # here' in result.traceback


def test_ipython_style(client, session):
    got = client.execute("def f(n):\n    return 1 / n\nf(0)", session,
                         traceback_style=ex.ExecutionSpec.TRACEBACK_STYLE_IPYTHON).expect("ERROR")
    text = got.result.traceback
    assert "ZeroDivisionError" in text and "\x1b[" not in text
    if not got.result.warnings:
        assert "n = 0" in text or "----> " in text


def test_unraisable_and_thread_exceptions_go_to_stderr(client, session):
    code = "import threading\ndef work(): raise ValueError('in the thread')\n" \
           "t = threading.Thread(target=work)\nt.start()\nt.join()"
    got = client.execute(code, session).ok()
    assert b"ValueError: in the thread" in got.stderr


def test_running_code_has_no_frame_of_ours_below(client, session):
    code = "import sys\ntry:\n    sys._getframe(1)\nexcept ValueError as e: print(e)"
    client.execute(code, session).ok("call stack is not deep enough\n")


def test_keyboardinterrupt_of_the_users_own(client, session):
    result = client.execute("raise KeyboardInterrupt", session).expect("ERROR").result
    assert result.exc_type == "KeyboardInterrupt"
