"""What goes along with calls: environments, modules and files, and what nodes say of what they lack."""

import base64
import contextlib
import hashlib
import importlib
import os
import subprocess
import sys
import tarfile
import venv
import warnings
import zipfile
from pathlib import Path

import pytest

import dtpnode
from dtpnode import _along, _cluster, _modules, _opening


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with data, which nodes do not have."""
    folder = tmp_path / "own" / "muonic"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "import os\nfrom .parts import Part\n"
        "def data():\n    return open(os.path.join(os.path.dirname(__file__), 'data.txt')).read()\n"
    )
    (folder / "parts.py").write_text("class Part:\n    pass\n")
    (folder / "data.txt").write_text("from the package")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    yield __import__("muonic")
    for name in ("muonic", "muonic.parts"):
        sys.modules.pop(name)


def test_modules_and_files(client, tmp_path, package):
    """They are there as files, in each process, whatever a call before has done to its working folder."""
    (tmp_path / "small").write_text("small")
    (tmp_path / "large").write_bytes(bytes(3 << 20))

    def use(part):
        import muonic

        sizes = os.stat("large").st_size, open("named").read()
        return muonic.data(), isinstance(part, muonic.Part), *sizes, os.listdir()

    def leave():
        os.chdir("/")

    def remove():
        for name in os.listdir():
            os.unlink(name)
        os.rmdir(os.getcwd())

    files = {"named": tmp_path / "small", "large": tmp_path / "large"}
    with client.executor(modules=[package], files=files, max_workers=1) as pool:
        for disturb in (leave, remove, None):
            *got, names = pool.submit(use, package.Part()).result()
            assert got == ["from the package", True, 3 << 20, "small"]
            assert sorted(names) == ["large", "named"]
            if disturb is not None:
                pool.submit(disturb).result()
        total = pool.reduce(lambda _: os.stat("large").st_size, range(4))
        assert total.result() == 4 * (3 << 20)
    outcomes = client.remote_map(lambda _: open("named").read(), range(2), files=files, progress=False)
    assert [o.value for o in outcomes] == ["small", "small"]


def test_calls_that_change_files(client, tmp_path):
    """What a call does to them, as it can where it owns them, is not there for processes and sessions that follow."""
    (tmp_path / "small").write_bytes(b"good")
    (tmp_path / "large").write_bytes(b"good" + bytes(2 << 20))
    files, seen = [tmp_path / "small", tmp_path / "large"], tmp_path / "seen"

    def read():
        return b"".join(open(name, "rb").read(4) for name in ("small", "large"))

    def spoil():
        with open(seen, "ab") as f:
            f.write(read())
        for name in ("small", "large"):
            os.chmod(name, 0o600)
            with open(name, "r+b") as f:
                f.write(b"EVIL")
        os._exit(9)

    with client.executor(files=files, max_workers=1) as pool:
        with pytest.raises(dtpnode.ItemLost):
            pool.submit(spoil).result()
        assert pool.submit(read).result() == b"goodgood"
    assert set(seen.read_bytes().split(b"goodgood")) == {b""} and seen.stat().st_size > len(b"goodgood")
    with client.executor(files=files) as pool:
        assert pool.submit(read).result() == b"goodgood"
    assert (tmp_path / "large").read_bytes()[:4] == b"good"


def test_file_that_changes_in_mid_session(client, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(2 << 20))
    along = _along.take_along(files=path)
    with contextlib.ExitStack() as stack:
        assert along.spec(stack)["files"] == [{"name": "large", "path": str(path)}]
        path.write_bytes(bytes(3 << 20))
        with pytest.raises(dtpnode.Error, match="was written to since"):
            along.spec(stack)
    assert not along.is_whole()


def test_lock_file_that_changes(tmp_path):
    """It is as it was, also where it was written to."""
    path = tmp_path / "pylock.toml"
    path.write_text("one")
    along = _along.take_along(path)
    path.write_text("another")
    assert along.is_whole()
    with contextlib.ExitStack() as stack:
        copy = Path(along.spec(stack)["env"]["lock"])
        assert copy != path and copy.name == path.name and copy.read_text() == "one"
    assert not copy.exists() and path.read_text() == "another"


class Late:
    """As a session finds a package that was imported here after it has begun, once."""

    def __init__(self):
        self.left = True

    def found(self, *_):
        found, self.left = self.left, False
        return found


@pytest.mark.parametrize("change", ["deleted", "replaced", "written to"])
def test_files_that_change_as_a_session_goes_on(client, tmp_path, change):
    """A session goes on with another job where it can, and never breaks."""
    path, other = tmp_path / "large", tmp_path / "other"
    path.write_bytes(b"a" * (2 << 20))

    def content(_=0):
        return open("large", "rb").read(1), os.stat("large").st_size

    with client.executor(files=[path], output=None) as pool:
        assert pool.submit(content).result() == (b"a", 2 << 20)
        first = pool.job
        if change == "deleted":
            path.unlink()
        elif change == "replaced":
            other.write_bytes(b"b" * (3 << 20))
            other.rename(path)
        else:
            path.write_bytes(b"b" * (3 << 20))
        pool._session._fresh = Late()
        assert list(pool.map(content, range(3))) == [(b"a", 2 << 20)] * 3
        assert (pool.job != first) is (change != "written to")


@pytest.mark.parametrize(
    "what, words",
    [
        ({"modules": ["numpy"]}, r"it has .*\.so, which is compiled(.|\n)*env="),
        ({"modules": ["no_such_module"]}, "there is none of that name here"),
        ({"modules": ["no/such/folder"]}, "no such file or folder"),
        ({"files": ["no_such_file"]}, "there is no such file"),
        ({"files": ["{folder}"]}, "it is a folder"),
        ({"files": {"a/b": __file__}}, "without folders"),
        ({"files": [__file__, __file__]}, "both"),
        ({"env": "{folder}"}, "venv-pack -p"),
        ({"env": "no_such.tar.gz"}, "there is no such file"),
        ({"env": "/dev/zero"}, "it is no regular file"),
        ({"files": ["/dev/zero"]}, "it is no regular file"),
        ({"env": __file__}, "rename it"),
    ],
)
def test_what_cannot_go_along(tmp_path, what, words):
    """It is refused before anything is sent."""
    [(kind, given)] = what.items()
    if isinstance(given, list):
        given = [text.format(folder=tmp_path) for text in given]
    elif isinstance(given, str):
        given = given.format(folder=tmp_path)
    with pytest.raises(dtpnode.Error, match=words):
        _along.take_along(**{kind: given})


def test_fingerprints(tmp_path):
    """What goes along is another thing once it holds something else, though its names and sizes are the same."""
    module, lock, small, large = (tmp_path / name for name in ("cuts.py", "pylock.toml", "small", "large"))
    for path in (module, lock, small):
        path.write_text("X = 1\n")
    large.write_bytes(bytes(2 << 20))

    def told(*files):
        return _along.take_along(lock, [module], files or (small, large)).fingerprint()

    seen = [told()]
    assert told() == seen[0]
    for path in (module, lock, small):
        path.write_text("X = 2\n")
        seen.append(told())
    large.write_bytes(bytes(3 << 20))
    seen += [told(), told(small)]
    assert len(set(seen)) == len(seen)


def test_modules_that_each_python_has():
    assert not _along.take_along(modules=["json", "sys", os])


def where():
    import sys

    import only_there

    return only_there.NAME, sys.prefix


def test_environment_by_tarball(client, tmp_path):
    """A packed virtual environment runs calls, though what dtpnode needs is not in it. It is there again at once."""
    folder = tmp_path / "env"
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "only_there.py").write_text("NAME = 'packed'\n")
    path = tmp_path / "env.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, ".")
    prefixes = set()
    for _ in range(2):
        with client.executor(env=path) as pool:
            name, prefix = pool.submit(where).result()
            assert name == "packed" and pool.submit(lambda: sys.prefix).result() == prefix != sys.prefix
            prefixes.add(prefix)
    assert len(prefixes) == 1
    path.write_bytes(b"none")
    with pytest.raises(dtpnode.Error, match="(?s)env.tar.gz .*venv-pack.* cannot be read"):
        client.executor(env=path)


def test_environment_that_this_host_cannot_make(tmp_path):
    """Other nodes run the calls, and this one leads them. If none can that is said at once."""
    folder = tmp_path / "env"
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "only_there.py").write_text("NAME = 'packed'\n")
    path, none = tmp_path / "env.tar.gz", tmp_path / "none.tar.gz"
    for tar, what in (path, folder), (none, site):
        with tarfile.open(tar, "w:gz") as t:
            t.add(what, ".")
    both = _cluster.Processes()
    try:
        for i, args in enumerate([["--env-bytes", "1"], []]):
            own = ["--slots", "1", "--python", sys.executable, "--cache", str(tmp_path / str(i))]
            both.start(_cluster.binary(), i, [*own, *args])
        for daemon in both.daemons:
            daemon.wait_ready()
        both.daemons[1].join(both.daemons[0])
        for daemon in both.daemons:
            daemon.wait(60, lambda status: status["up"] == 2, "is alone")
        client = dtpnode.Client(both.daemons[0].state)
        with pytest.warns(dtpnode.NodeWarning, match="this node takes no part.*too large"):
            with client.executor(env=path) as pool:
                assert [n for n, _ in pool.map(lambda _: where(), range(3))] == ["packed"] * 3
        with pytest.raises(dtpnode.Error, match="(?s)too large.*adds up"):
            client.reduce(lambda n: n, range(3), env=path).result()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dtpnode.NodeWarning)
            with pytest.raises(dtpnode.Error, match="(?s)none of the nodes can run the job.*no bin/python"):
                with client.executor(env=none) as pool:  # or it is said here, if the other node is quick
                    pool.submit(abs, -1).result()
    finally:
        both.close()


def test_environment_by_lock_file(tmp_path, monkeypatch):
    """It has what the lock file names, from wherever the node is told to get that."""
    wheel = tmp_path / "links" / "only_there-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "only_there-1.0.dist-info/"
    members = {
        "only_there.py": "NAME = 'locked'\n",
        info + "METADATA": "Metadata-Version: 2.1\nName: only_there\nVersion: 1.0\n",
        info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}RECORD,,\n"
    for name, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    members[info + "RECORD"] = record
    with zipfile.ZipFile(wheel, "w") as z:
        for name, text in members.items():
            z.writestr(name, text)
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"only_there==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(wheel.parent))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    cache = str(tmp_path / "cache")
    with dtpnode.LocalCluster(nodes=1, slots=1, args=["--cache", cache]) as cluster, cluster.client() as client:
        with client.executor(env=lock) as pool:
            name, prefix = pool.submit(where).result()
            assert name == "locked" and prefix.startswith(cache)
            installed = pool.submit(subprocess.run, ["python", "-c", "import only_there"]).result()
            assert installed.returncode == 0
        lock.write_text("only_there==1.0\n")
        with pytest.raises(dtpnode.Error, match="no hash for only_there==1.0"):
            client.executor(env=lock)


def test_environment_by_name(client, tmp_path, monkeypatch):
    with client.executor(env="here") as pool:
        assert pool.submit(lambda: sys.prefix).result() == sys.prefix
    with pytest.raises(dtpnode.Error, match="(?s)needs Python 3.*, environment elsewhere, .*--python"):
        client.executor(env="elsewhere")
    (tmp_path / "envt").mkdir()
    (tmp_path / "locked").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dtpnode.Error, match="(?s)environment envt, .*if the folder envt here is meant, pack it"):
        client.executor(env="envt")
    with pytest.raises(dtpnode.Error, match="(?s)environment locked, .*if the file locked here is meant, its"):
        client.executor(env="locked")
    (tmp_path / "pylock.toml").write_text("not = [toml\n")
    with pytest.raises(dtpnode.Error, match="the lock file pylock.toml is no valid TOML: line 1, column"):
        client.executor(env="pylock.toml")


def test_other_python(client, monkeypatch):
    monkeypatch.setattr(_opening, "python_version", lambda: "3.9")
    with pytest.raises(dtpnode.Error, match="(?s)needs Python 3.9, this node has Python 3.*--python FILE"):
        client.executor()


def test_package_without_init(client, tmp_path, monkeypatch):
    """Modules in a folder that has no __init__.py travel as others of the user's own."""
    (tmp_path / "barefoot" / "deep").mkdir(parents=True)
    (tmp_path / "barefoot" / "cuts.py").write_text("LEAST = 20\ndef passes(pt):\n    return pt > LEAST\n")
    (tmp_path / "barefoot" / "deep" / "names.py").write_text("NAME = 'muon'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    barefoot, cuts = __import__("barefoot.deep.names"), importlib.import_module("barefoot.cuts")
    with client.executor() as pool:
        assert [pool.submit(cuts.passes, pt).result() for pt in (10, 30)] == [False, True]
        assert pool.submit(lambda: barefoot.deep.names.NAME).result() == "muon"
    assert not _modules.own(importlib.import_module("mpl_toolkits"))  # which is installed


def test_package_that_is_imported_late(client, tmp_path, monkeypatch):
    """What nodes lack of it is told before the first call that uses it has run."""
    site = tmp_path / "site-packages"
    (site / "late-2.0.dist-info").mkdir(parents=True)
    (site / "late-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Late\nVersion: 2.0\n")
    (site / "late-2.0.dist-info" / "top_level.txt").write_text("latecomer\n")
    (site / "latecomer.py").write_text("ONE = 1\n")
    with client.executor() as pool, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert pool.submit(abs, -1).result() == 1
        first = pool.job
        monkeypatch.syspath_prepend(str(site))
        latecomer = __import__("latecomer")
        assert pool.submit(abs, -1).result() == 1 and pool.job == first
        future = pool.submit(lambda: latecomer.ONE)
        with pytest.raises(ModuleNotFoundError) as e:
            future.result()
        assert "modules=['latecomer'], or `dtpnode run --modules latecomer`" in str(e.value.__cause__)
        assert pool.job != first
    assert ["lacks Late 2.0" in str(w.message) for w in told if w.category is dtpnode.NodeWarning] == [True]
    sys.modules.pop("latecomer")
