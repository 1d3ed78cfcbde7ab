"""Generates the Python stubs of the API into a folder outside the tree."""

import os
import shutil
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
VARIABLE = "PYEXEC_TEST_STUBS"


def _tool(name, package):
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is missing: install the Debian package {package}")
    return path


def _sources(folder, prefix):
    under = os.path.join(folder, prefix)
    return sorted(os.path.join(under, f) for f in os.listdir(under) if f.endswith(".proto"))


def generate(out):
    """Writes the stubs of proto/pyexec/v1 and of tests/support/testproto into `out`."""
    proto, support = os.path.join(ROOT, "proto"), os.path.join(TESTS, "support")
    subprocess.run(
        [
            _tool("protoc", "protobuf-compiler"),
            f"-I{proto}",
            f"-I{support}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            "--plugin=protoc-gen-grpc_python="
            + _tool("grpc_python_plugin", "protobuf-compiler-grpc"),
            *_sources(proto, "pyexec/v1"),
            *_sources(support, "testproto"),
        ],
        check=True,
    )


def install():
    """Makes the stubs importable. Returns the folder to remove at the end, or None.

    The process that pytest was started in makes them; workers find them by the environment."""
    made = None
    if VARIABLE not in os.environ:
        made = tempfile.mkdtemp(prefix="pyexec-stubs-")
        generate(made)
        os.environ[VARIABLE] = made
    sys.path.insert(0, os.environ[VARIABLE])
    return made
