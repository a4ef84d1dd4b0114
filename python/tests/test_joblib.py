"""joblib and scikit-learn on the pool."""

import math
import multiprocessing
import os
import time
import types

import joblib
import numpy
import pytest
from sklearn import datasets, svm
from sklearn.model_selection import GridSearchCV, cross_val_score

import dtpnode.joblib
from dtpnode import _calls


@pytest.fixture
def parallel(client):
    with joblib.parallel_config(backend="dtpnode", client=client):
        yield joblib.Parallel
        for _, executor in dtpnode.joblib._shared._executors.pop(client, {}).values():
            executor.shutdown()


def test_parallel(parallel):
    assert parallel()(joblib.delayed(math.sqrt)(i * i) for i in range(500)) == list(range(500))
    assert os.getpid() not in parallel()(joblib.delayed(os.getpid)() for _ in range(10))
    assert list(parallel(return_as="generator")(joblib.delayed(abs)(-i) for i in range(50))) == list(range(50))


def test_errors(parallel):
    with pytest.raises(ZeroDivisionError) as e:
        parallel(batch_size=1)(joblib.delayed(divmod)(1, i) for i in range(3, -1, -1))
    assert "in the call divmod(1, 0)\n" in str(e.value.__cause__)
    batch = types.SimpleNamespace(items=[(divmod, (1,), {"b": i}) for i in range(3)])
    assert _calls.words(_calls.run, (batch,), {}, repr) == "divmod(1, b=0) or one of the 2 behind it"
    with pytest.raises(dtpnode.ItemLost, match=r"^item \d+, _exit\(status=3\): "):
        parallel(batch_size=1)(joblib.delayed(os._exit)(status=3) for _ in range(1))
    with pytest.raises(multiprocessing.TimeoutError):
        parallel(timeout=0.2)(joblib.delayed(time.sleep)(2) for _ in range(1))
    with pytest.raises(ValueError, match="n_jobs == 0"):
        parallel(n_jobs=0)(joblib.delayed(abs)(i) for i in range(3))
    assert parallel()(joblib.delayed(abs)(i) for i in range(3)) == [0, 1, 2]


def test_n_jobs(client):
    backend = dtpnode.joblib.Backend(client)
    assert [backend.effective_n_jobs(n) for n in (None, -1, -2, -99, 1, 7)] == [5, 5, 4, 1, 1, 7]


def test_options_that_there_are_not(client, parallel):
    with pytest.raises(TypeError, match='"dtpnode" has no option nosuch; it has client, env, modules, files, stall'):
        joblib.parallel_config(backend="dtpnode", nosuch=1)
    with pytest.raises(TypeError, match="client must be a dtpnode.Client, and not str: 'foo'"):
        joblib.parallel_config(backend="dtpnode", client="foo")
    with pytest.raises(TypeError, match="files: Parallel has no such options; joblib.parallel_config"):
        parallel(files=["x"])(joblib.delayed(abs)(i) for i in range(3))
    with pytest.raises(TypeError, match="stall: Parallel has no such options"):
        parallel(stall=1)(joblib.delayed(abs)(i) for i in range(3))


def test_nested(parallel):
    def inner(i):
        return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-j) for j in range(i)))

    assert parallel()(joblib.delayed(inner)(i) for i in range(5)) == [0, 0, 1, 3, 6]


def test_cross_validation(parallel):
    """scikit-learn's example of cross-validation, and a search on top of it, give what they do in one process."""
    X, y = datasets.load_iris(return_X_y=True)
    model = svm.SVC(kernel="linear", C=1, random_state=42)
    search = GridSearchCV(svm.SVC(), {"C": [0.1, 1, 10], "kernel": ["linear", "rbf"]}, cv=3)
    scores = cross_val_score(model, X, y, cv=5)
    found = search.fit(X, y).cv_results_["mean_test_score"]
    assert numpy.allclose(scores, [0.96666667, 1.0, 0.96666667, 0.96666667, 1.0])
    with joblib.parallel_config(backend="sequential"):
        assert numpy.array_equal(scores, cross_val_score(model, X, y, cv=5))
        assert numpy.array_equal(found, search.fit(X, y).cv_results_["mean_test_score"])


def test_edited_meanwhile(client, parallel, tmp_path, monkeypatch):
    """Processes that an earlier call of Parallel has left do not serve one for which what goes along was edited."""
    cuts, large, wave = tmp_path / "cuts.json", tmp_path / "large.txt", tmp_path / "joblib_wave.py"
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)

    def look(_):
        import joblib_wave

        return open("cuts.json").read(), open("large.txt").read(3), joblib_wave.NUMBER, os.getpid()

    def found():
        backend = joblib.parallel_config(
            backend="dtpnode", client=client, files=["cuts.json", "large.txt"], modules=["./joblib_wave.py"]
        )
        with backend:
            (of,) = parallel()(joblib.delayed(look)(i) for i in range(1))
        return of

    for path, text in (cuts, "old"), (large, "old" + "." * dtpnode._along.SMALL), (wave, "NUMBER = 1"):
        path.write_text(text)
        (other / path.name).write_text(text)
    (*first, pid) = found()
    assert first == ["old", "old", 1]
    assert len(dtpnode.joblib._shared._executors[client]) == 1 and found()[:3] == ("old", "old", 1)
    cuts.write_text("new")
    assert found()[:3] == ("new", "old", 1)
    large.write_text("new" + "." * dtpnode._along.SMALL)
    assert found()[:3] == ("new", "new", 1)
    wave.write_text("NUMBER = 2")
    assert found()[:3] == ("new", "new", 2)
    monkeypatch.chdir(other)
    assert found()[:3] == ("old", "old", 1)
    assert len(dtpnode.joblib._shared._executors[client]) == 1
