"""The Python side of a session: reports, displays, hooks.

Run once, in the zygote, in a namespace of its own with a private copy of the builtins, so that user
code that changes modules or builtins does not change what these functions do. The C side gives
`host` (functions of the session) before this runs. Nothing here is below user code on the stack.
"""
import base64
import builtins
import functools
import importlib.machinery
import importlib.util
import io
import json
import linecache
import os
import sys

# --- private copies ------------------------------------------------------------------------------

MOST_CHAINED = 100  # exceptions of one chain that are shown
MOST_FRAMES = 1000  # of one traceback text, as Python's own default
MOST_SOURCES = 256
MOST_SOURCE_BYTES = 32 << 20
MOST_PART_BYTES = (1 << 20) - (64 << 10)
MOST_TEXT = 256 << 10


def _load(name):
    loader = importlib.util.find_spec(name).loader
    space = {"__name__": name, "__builtins__": dict(builtins.__dict__)}
    exec(loader.get_code(name), space)
    return space


class _Space:
    def __init__(self, space):
        self.__dict__ = space


class _Seen(set):
    """The set by which `traceback` breaks cycles: it also ends a chain that is too long."""

    def __contains__(self, item):
        return len(self) > MOST_CHAINED or set.__contains__(self, item)


_linecache = _Space(_load("linecache"))
_traceback = _load("traceback")
_traceback["linecache"] = _linecache
_traceback["set"] = _Seen
_TracebackException = _traceback["TracebackException"]

# --- source text ---------------------------------------------------------------------------------

_sources = {}  # id of a code object's co_filename -> (that string, linecache's entry, path)


class _Lines(dict):
    """linecache's table: each run has its own `filename` object, so that functions of earlier runs
    keep their own text although the name is the same."""

    def __getitem__(self, name):
        known = _sources.get(id(name))
        return dict.__getitem__(self, name) if known is None else known[1]

    def clear(self):
        dict.clear(self)
        for filename, entry, path in _sources.values():
            self[filename] = self[path] = entry


linecache.cache = _public_lines = _Lines(linecache.cache)


def _forget_old_sources():
    total = 0
    for count, key in enumerate(reversed(list(_sources)), 1):
        filename, entry, path = _sources[key]
        total += entry[0]
        if total > MOST_SOURCE_BYTES or count > MOST_SOURCES:
            del _sources[key]
            for name in (filename, path):
                known = dict.get(_public_lines, name)
                if known is not None and len(known) == 4 and known[2] is entry[2]:
                    del _public_lines[name]


def add_source(filename, path, source):
    """Makes the lines of a run known."""
    text = source.decode("utf-8", "replace")
    if text.startswith("\ufeff"):
        text = text[1:]
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    last = lines.pop()
    lines = [line + "\n" for line in lines]
    if last:
        lines.append(last + "\n")
    # No time stamp: linecache.checkcache leaves the entry alone.
    entry = (len(source), None, lines, filename)
    _sources[id(filename)] = (filename, entry, path)
    _public_lines[filename] = _public_lines[path] = entry
    _linecache.cache[filename] = entry
    _forget_old_sources()


def line_of(filename, number):
    """The line without the blanks around it, or ''."""
    known = _sources.get(id(filename))
    if known is None:
        return _linecache.getline(filename, number).strip()
    lines = known[1][2]
    return lines[number - 1].strip() if 1 <= number <= len(lines) else ""


# --- reports -------------------------------------------------------------------------------------


def _localize(report, filename, path):
    """Gives frames their own run's lines, and our file its short name, in a whole chain."""
    todo = [report]
    while todo:
        one = todo.pop()
        for frame in one.stack:
            known = _sources.get(id(frame.filename))
            if known is not None and frame.lineno and 1 <= frame.lineno <= len(known[1][2]):
                frame._line = known[1][2][frame.lineno - 1]
            if frame.filename == path:
                frame.filename = filename
        if one.exc_type is not None and hasattr(one, "text") and hasattr(one, "filename"):
            number = int(one.lineno or 0)
            if one.filename == path:
                one.filename = filename
            if one.text is None and one.filename == filename:
                # Errors found after parsing look for a file.
                one.text = _linecache.getline(filename, number) or None
        todo.extend(x for x in (one.__cause__, one.__context__) if x is not None)
        todo.extend(one.exceptions or ())


def report(value, trace, depth, filename, path):
    try:
        limit = -MOST_FRAMES if depth > MOST_FRAMES else None
        one = _TracebackException(type(value), value, trace, limit=limit, lookup_lines=False)
        _localize(one, filename, path)
        return "".join(one.format())
    finally:
        for name in list(_linecache.cache):
            if name != filename:
                del _linecache.cache[name]


def report_ipython(value, trace):
    from IPython.core.ultratb import VerboseTB

    return VerboseTB(color_scheme="NoColor", tb_offset=0).text(type(value), value, trace) + "\n"


# --- values and displays -------------------------------------------------------------------------

_METHODS = (
    ("_repr_html_", "text/html"),
    ("_repr_markdown_", "text/markdown"),
    ("_repr_svg_", "image/svg+xml"),
    ("_repr_png_", "image/png"),
    ("_repr_jpeg_", "image/jpeg"),
    ("_repr_pdf_", "application/pdf"),
    ("_repr_latex_", "text/latex"),
    ("_repr_json_", "application/json"),
    ("_repr_javascript_", "application/javascript"),
)
_BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")


def _failure(what, error):
    host.warn("%s failed: %s" % (what, type(error).__name__))


def _plain(value):
    try:
        text = repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _failure("repr() of a %s" % type(value).__name__, error)
        return "<%s object: repr() failed>" % type(value).__name__
    if len(text) > MOST_TEXT:
        half = MOST_TEXT // 2
        cut = len(text) - 2 * half
        text = "%s\n... [%d characters cut] ...\n%s" % (text[:half], cut, text[-half:])
    return text


def _content(mime, data):
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, str):
        if mime in _BINARY:
            return base64.b64decode(data)
        return data.encode("utf-8", "backslashreplace")
    return json.dumps(data).encode("utf-8", "backslashreplace")


def _metadata(data):
    if not isinstance(data, dict):
        return {}
    return {
        str(k): v if isinstance(v, str) else json.dumps(v, default=str) for k, v in data.items()
    }


def _add(parts, mime, data, metadata):
    if data is None:
        return
    try:
        content = _content(mime, data)
        facts = _metadata(metadata)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _failure("the %s part of a display" % mime, error)
        return
    if len(content) > MOST_PART_BYTES:
        host.warn("the %s part of a display was left out: %d bytes, more than %d"
                  % (mime, len(content), MOST_PART_BYTES))
        return
    parts[mime] = (mime, content, facts)


def _ask(value, name):
    """Calls a method that the value's class (not __getattr__) has; (data, metadata) or Nones."""
    method = getattr(type(value), name, None)
    if isinstance(value, type) or not callable(method):
        return None, None
    try:
        result = method(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not isinstance(error, NotImplementedError):
            _failure("%s() of a %s" % (name, type(value).__name__), error)
        return None, None
    if isinstance(result, tuple) and len(result) == 2:
        return result
    return result, None


def bundle(value):
    """All representations of a value, richest first: [(mime type, bytes, {str: str})]."""
    parts = {}
    data, metadata = _ask(value, "_repr_mimebundle_")
    if isinstance(data, dict):
        for mime, content in data.items():
            about = metadata.get(mime) if isinstance(metadata, dict) else None
            _add(parts, str(mime), content, about)
    for name, mime in _METHODS:
        if mime not in parts:
            _add(parts, mime, *_ask(value, name))
    plain = parts.pop("text/plain", None)
    if plain is None:
        plain = ("text/plain", _plain(value).encode("utf-8", "backslashreplace"), {})
    return list(parts.values()) + [plain]


def _raw_bundle(data, metadata):
    parts = {}
    for mime, content in data.items():
        about = metadata.get(mime) if isinstance(metadata, dict) else None
        _add(parts, str(mime), content, about)
    return list(parts.values())


class DisplayHandle:
    """What display(..., display_id=True) gives: shows something else in the same place."""

    def __init__(self, display_id):
        self.display_id = display_id

    def __repr__(self):
        return "<DisplayHandle display_id=%s>" % self.display_id

    def display(self, obj, **kwargs):
        display(obj, display_id=self.display_id, **kwargs)

    def update(self, obj, **kwargs):
        update_display(obj, display_id=self.display_id, **kwargs)


def display(*objs, display_id=None, update=False, raw=False, clear=False, metadata=None, **kwargs):
    """Shows objects with all their representations.

    `display_id` names the place (True makes a new name and gives a handle); `update` replaces what
    was shown there; `raw` takes dicts of MIME type to data.
    """
    if display_id is True:
        display_id = os.urandom(16).hex()
    if clear:
        clear_output(wait=True)
    for obj in objs:
        parts = _raw_bundle(obj, metadata) if raw else bundle(obj)
        if parts:
            host.display(parts, "" if display_id is None else str(display_id), bool(update))
    if display_id is not None:
        return DisplayHandle(display_id)


def update_display(obj, *, display_id, **kwargs):
    """Replaces what display() showed under this id."""
    display(obj, display_id=display_id, update=True, **kwargs)


def clear_output(wait=False):
    """Clears what this execution showed; with `wait`, when the next output comes."""
    host.clear_output(bool(wait))


def publish_display_data(data, metadata=None, *, transient=None, update=False, **kwargs):
    display_id = (transient or {}).get("display_id")
    parts = _raw_bundle(data, metadata)
    if parts:
        host.display(parts, "" if display_id is None else str(display_id), bool(update))


# --- figures -------------------------------------------------------------------------------------


def _uses_agg():
    matplotlib = sys.modules.get("matplotlib")
    return matplotlib is not None and matplotlib.get_backend().lower() == "agg"


def show_figures():
    """Shows and closes the open figures of pyplot, when nothing else shows them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not _uses_agg():
        return
    try:
        for number in list(pyplot.get_fignums()):
            figure = pyplot.figure(number)
            file = io.BytesIO()
            figure.savefig(file, format="png", bbox_inches="tight")
            parts = {}
            _add(parts, "image/png", file.getvalue(), None)
            _add(parts, "text/plain", repr(figure), None)
            host.display(list(parts.values()), "", False)
    finally:
        pyplot.close("all")


def _patch_pyplot(module):
    original = module.show

    @functools.wraps(original)
    def show(*args, **kwargs):
        if _uses_agg():
            return show_figures()
        return original(*args, **kwargs)

    module.show = show


def _patch_ipython_display(module):
    module.display = display
    module.update_display = update_display
    module.clear_output = clear_output
    module.publish_display_data = publish_display_data


# --- modules that need a hand --------------------------------------------------------------------


def _patch_spawn(module):
    """A spawned child runs the main file again; ours is in memory unless it was asked for."""
    original = module.get_preparation_data

    @functools.wraps(original)
    def get_preparation_data(name):
        data = original(name)
        path = data.get("init_main_from_path")
        if path is not None and not os.path.exists(path):
            del data["init_main_from_path"]
        return data

    module.get_preparation_data = get_preparation_data


def _patch_getpass(module):
    @functools.wraps(module.unix_getpass)
    def getpass(prompt="Password: ", stream=None):
        if stream is None:
            stream = sys.stderr
        prompt = str(prompt)
        stream.write(prompt)
        stream.flush()
        host.set_prompt(prompt, True)
        try:
            line = sys.stdin.readline()
        finally:
            host.set_prompt("", False)
        if not line:
            raise EOFError
        return line[:-1] if line[-1] == "\n" else line

    module.getpass = getpass


_PATCHES = {
    "matplotlib.pyplot": _patch_pyplot,
    "IPython.core.display_functions": _patch_ipython_display,
    "multiprocessing.spawn": _patch_spawn,
    "getpass": _patch_getpass,
}


class _PatchFinder:
    """Finds nothing itself: adds a step after the execution of a few modules."""

    def find_spec(self, name, path=None, target=None):
        patch = _PATCHES.get(name)
        if patch is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or not hasattr(spec.loader, "__dict__"):
            return spec
        loader = spec.loader
        original = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            original(module)
            patch(module)

        loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _PatchFinder())

def available(name):
    return importlib.util.find_spec(name) is not None


# --- life of a session ---------------------------------------------------------------------------


def start(environment):
    """In a new session, before anything of its own runs."""
    for function in (display, update_display, clear_output):
        setattr(builtins, function.__name__, function)
    environment.setdefault("MPLBACKEND", "agg")


def reseed():
    """After a fork: `random` does it by itself."""
    random = sys.modules.get("random")
    if random is not None:
        random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


def mute_warnings():
    import warnings

    warnings.simplefilter("ignore")


def lost_threads():
    threading = sys.modules["threading"]
    main = threading.main_thread()
    return ", ".join(str(t.name) for t in threading.enumerate() if t is not main)


def finish_fork():
    """What Python does at the end of a process, for a child that user code forked."""
    for name, function in (("threading", "_shutdown"), ("atexit", "_run_exitfuncs")):
        module = sys.modules.get(name)
        if module is not None:
            getattr(module, function)()
