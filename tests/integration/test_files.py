"""FileService: files of a session's working directory, and nothing else."""

import hashlib
import os

import grpc
import pytest
from support.api import fs
from support.client import RPC_TIMEOUT
from support.faults import refused

CHUNK = 1 << 20
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Files:
    """The service for one session."""

    def __init__(self, client, session):
        self.stub = client.files
        self.session = session

    def _call(self, method, request):
        return getattr(self.stub, method)(request, timeout=RPC_TIMEOUT)

    def write(self, path, data, offset=0, truncate=True, **fields):
        request = fs.WriteFileRequest(session_id=self.session, path=path, data=data, offset=offset,
                                      truncate=truncate, **fields)
        return self._call("WriteFile", request).file

    def read(self, path, offset=0, limit=0):
        """The bytes and the description; checks that the chunks join."""
        request = fs.ReadFileRequest(session_id=self.session, path=path, offset=offset, limit=limit)
        parts, info, at = [], None, offset
        for response in self._call("ReadFile", request):
            assert info is None, "a message after the last one"
            assert response.offset == at and response.ByteSize() <= CHUNK
            parts.append(response.data)
            at += len(response.data)
            if response.HasField("file"):
                info = response.file
        assert info is not None, "the last message has no description"
        return b"".join(parts), info

    def stat(self, path):
        return self._call("StatFile", fs.StatFileRequest(session_id=self.session, path=path)).file

    def list(self, path="", **fields):
        return self._call("ListFiles", fs.ListFilesRequest(session_id=self.session, path=path,
                                                           **fields))

    def mkdir(self, path):
        request = fs.MakeDirectoryRequest(session_id=self.session, path=path)
        return self._call("MakeDirectory", request).file

    def move(self, source, destination):
        request = fs.MoveFileRequest(session_id=self.session, source_path=source,
                                     destination_path=destination)
        return self._call("MoveFile", request).file

    def delete(self, path, recursive=False):
        self._call("DeleteFile", fs.DeleteFileRequest(session_id=self.session, path=path,
                                                      recursive=recursive))


@pytest.fixture
def files(client, session):
    return Files(client, session)


def test_what_is_written_is_what_the_code_reads_and_back(client, session, files, rng):
    data = rng.randbytes(3 * CHUNK + 17)
    for at in range(0, len(data), CHUNK):
        files.write("in/data.bin", data[at:at + CHUNK], offset=at, truncate=at + CHUNK >= len(data),
                    make_parents=True)
    code = ("import hashlib; d = open('in/data.bin', 'rb').read()\n"
            "open('out.bin', 'wb').write(d[::-1]); print(hashlib.sha256(d).hexdigest())")
    client.execute(code, session).ok(hashlib.sha256(data).hexdigest() + "\n")
    back, info = files.read("out.bin")
    assert back == data[::-1] and info.size_bytes == len(data)
    assert info.type == fs.FILE_TYPE_REGULAR


def test_a_repeated_write_is_harmless(files):
    files.write("f", b"hello world and more")
    for _ in range(3):
        files.write("f", b" world", offset=5)
    assert files.read("f")[0] == b"hello world"


def test_ranges(files):
    files.write("f", bytes(range(100)))
    assert files.read("f", offset=10, limit=5)[0] == bytes(range(10, 15))
    assert files.read("f", offset=95, limit=50)[0] == bytes(range(95, 100))
    assert files.read("f", offset=100)[0] == b""
    assert files.read("f", offset=10**12)[0] == b""


def test_directories_listings_and_pages(files):
    files.mkdir("a/b/c")
    for i in range(10):
        files.write(f"a/b/f{i}", b"x")
    one_level = [f.path for f in files.list("a").files]
    assert one_level == ["a/b"]
    seen, token = [], ""
    while True:
        page = files.list("a", depth=3, page_size=4, page_token=token)
        seen += [f.path for f in page.files]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(["a/b", "a/b/c", *(f"a/b/f{i}" for i in range(10))])
    files.move("a/b/f3", "moved")
    assert files.stat("moved").size_bytes == 1
    with refused("FILE_NOT_FOUND", NOT_FOUND):
        files.stat("a/b/f3")
    with refused("FILE_DENIED", DENIED):
        files.delete("a")
    files.delete("a", recursive=True)
    files.delete("a", recursive=True)  # what is gone is gone
    assert [f.path for f in files.list().files] == ["moved"]


ESCAPES = {
    "parent": "..", "parent file": "../secret", "absolute": "/etc/passwd",
    "link up": "up/secret", "absolute link": "passwd", "through proc": "proc/self/root/etc/passwd",
}


@pytest.mark.parametrize("path", ESCAPES.values(), ids=ESCAPES.keys())
def test_nothing_leads_out_of_the_directory(client, session, files, path):
    client.execute("import os; os.symlink('..', 'up'); os.symlink('/etc/passwd', 'passwd')\n"
                   "os.symlink('/proc', 'proc')", session).ok()
    with refused("PATH_OUTSIDE_ROOT", INVALID):
        files.read(path)
    with pytest.raises(grpc.RpcError):
        files.write(path, b"x")
    with pytest.raises(grpc.RpcError):
        files.list(path)


def test_fifos_devices_and_directories_are_not_read(client, session, files):
    client.execute("import os; os.mkfifo('fifo'); os.mkdir('dir')", session).ok()
    for path in ("fifo", "dir"):
        with refused("FILE_DENIED", DENIED):
            files.read(path)
        with refused("FILE_DENIED", DENIED):
            files.write(path, b"x")


def test_names_that_are_no_text_are_shown_and_harmless(client, session, files):
    client.execute("open(b'bad\\xff', 'w').close(); open('good', 'w').close()", session).ok()
    assert [f.path for f in files.list().files] == ["bad\N{REPLACEMENT CHARACTER}", "good"]


def test_bounds_and_one_beyond(files):
    files.write("f", bytes(CHUNK))
    with refused("INVALID_FIELD", INVALID):
        files.write("f", bytes(CHUNK + 1))
    with refused("INVALID_FIELD", INVALID):
        files.list(page_size=10_001)
    with refused("INVALID_FIELD", INVALID):
        files.list(depth=65)
    with refused("INVALID_FIELD", INVALID):
        files.stat("x" * 4096)
    with refused("INVALID_FIELD", INVALID):
        files.list(page_token="nonsense")
    with refused("INVALID_FIELD", INVALID):
        files.write("f", b"", mode=0o4755)


def test_files_of_a_dead_session_can_still_be_fetched(client, session, files):
    client.execute("open('result', 'w').write('kept'); import os; os._exit(1)", session)
    assert files.read("result")[0] == b"kept"


def test_no_such_session(client):
    info = client.info()
    gone = Files(client, f"{info.node_id}-7{'Z' * 25}")
    with refused("SESSION_NOT_FOUND", NOT_FOUND):
        gone.list()
    with refused("SESSION_NOT_FOUND", NOT_FOUND):
        gone.read("x")


def test_the_service_is_announced(client):
    assert "files" in client.info().features


def test_a_directory_of_the_clients_choice_stays(own_daemon, tmp_path):
    daemon = own_daemon("--work-root", str(tmp_path))
    client = own_daemon.connect(daemon)
    (tmp_path / "job").mkdir()
    with client.session(working_directory=str(tmp_path / "job")) as session:
        Files(client, session).write("kept", b"yes")
    assert (tmp_path / "job" / "kept").read_bytes() == b"yes"
    assert os.listdir(tmp_path) == ["job"]
