"""Where graphs of dask store arrays, as by dask.array.store, and by to_zarr and other functions that are made on it.

A target that is an object of the client's process is copied to the nodes with the tasks. What these store into the
copies is lost, and nothing says so. So a graph is run only if it is known of each target that the nodes reach what is
behind it: files, or a service. That is known of arrays of zarr, by the class of their store. Of what a task makes,
such as a Delayed, nothing is known before it has run, and it was made on the nodes anyway.
"""

import os
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, NestedContainer, Task, TaskRef

from ._errors import Error

STORES = ("load_store_chunk", "store_chunk")  # what functions of dask that store are called, which take a target second

# Stores of zarr 3 and 2 whose copy, in another process, writes to the same place. Not among them are those in memory,
# archives and local data bases, which have one writer, and folders that go with the process that has made them.
FOLDERS = frozenset(("LocalStore", "DirectoryStore", "NestedDirectoryStore", "N5Store"))
SERVICES = frozenset(("ABSStore", "MongoDBStore", "RedisStore"))
BY_FILE_SYSTEM = frozenset(("FsspecStore", "FSStore", "N5FSStore"))  # which have a file system of fsspec
AROUND = frozenset(("WrapperStore", "LoggingStore", "LRUStoreCache"))  # which have another store
OBJECTS = frozenset(("S3Store", "GCSStore", "AzureStore", "LocalStore"))  # of obstore, which ObjectStore has
LOCAL = frozenset(("memory", "zip", "tar", "libarchive", "reference"))  # file systems of fsspec that one process writes
DEPTH = 8  # stores, or file systems, each around the next


def refuse(key: Any, task: Task, nodes: Mapping[Any, Any]) -> None:
    """Raises if a task stores into what the nodes do not reach: it would do nothing, without a word."""
    for into in targets(task, nodes):
        folder = into if isinstance(into, str) else folder_of(into)
        if folder is not None and not os.path.isabs(folder):
            raise Error(
                f"could not run the graph: its task {key!r} stores into {folder}, which is named relative to the "
                "working folder of this process: tasks have another one, and it would stay as it is",
                "name the folder absolutely, as os.path.abspath does",
            )
        if folder is None and not reached(into):
            kind = type(into)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            what = "an array" if hasattr(kind, "__array_interface__") else "an object"
            raise Error(
                f"could not run the graph: its task {key!r} stores into {what} of this process, a {name}, which the "
                "nodes do not see: it would stay as it is",
                "compute() the array and assign it, or store it in files that all nodes see, as by to_zarr with the "
                "name of a folder, or by da.to_npy_stack",
            )


def targets(task: Task, nodes: Mapping[Any, Any]) -> Iterator[Any]:
    """What a task stores into, as far as that is known before it runs: objects, and names of files. It may be several
    tasks that dask has fused, each time within another one."""
    function, args = getattr(task.func, "__name__", ""), task.args
    if function == "_execute_subgraph" and len(args) > 2 and isinstance(args[0], dict) and isinstance(args[2], tuple):
        within: Mapping[Any, Any] = ChainMap(args[0], dict(zip(args[2], args[3:])), nodes)  # type: ignore[arg-type]
        for step in args[0].values():
            if isinstance(step, Task):
                yield from targets(step, within)
    elif function == "save" and args and isinstance(args[0], str) and task.func.__module__ == "numpy":
        yield args[0]  # of to_npy_stack
    elif function in STORES and len(args) > 1:
        into = args[1]
        for _ in range(len(nodes)):
            if not isinstance(into, (TaskRef, Alias)):
                break
            into = nodes.get(into.target if isinstance(into, Alias) else into.key)
        if isinstance(into, DataNode):
            yield into.value
        elif isinstance(into, NestedContainer):  # as dask has a list or a mapping
            yield into.klass()
        elif into is not None and not isinstance(into, (GraphNode, TaskRef)):
            yield into


def folder_of(into: Any) -> str | None:
    """The folder that an array of zarr is in, if that is what its store has."""
    store, kinds = store_of(into)
    found = getattr(store, "root", None) or getattr(store, "path", None) if kinds & FOLDERS else None
    return str(found) if found is not None else None


def reached(into: Any) -> bool:
    """Whether it is known that what is stored into a copy of an object, in another process, is stored into it."""
    store, kinds = store_of(into)
    if kinds & BY_FILE_SYSTEM:
        return shared(getattr(store, "fs", None))
    if "ObjectStore" in kinds:
        return bool(of_package("obstore", getattr(store, "store", None)) & OBJECTS)
    return bool(kinds & SERVICES)


def store_of(into: Any) -> tuple[Any, frozenset[str]]:
    """The store of an array of zarr, without those that are only around another one, and the names of its classes."""
    if "Array" not in of_package("zarr", into):
        return None, frozenset()
    store = getattr(into, "chunk_store", None)  # of zarr 2
    store = store if store is not None else getattr(into, "store", None)
    for _ in range(DEPTH):
        kinds = of_package("zarr", store)
        if not kinds & AROUND:
            return store, kinds
        store = getattr(store, "_store", None)
    return None, frozenset()


def shared(system: Any) -> bool:
    """Whether several processes write to a file system of fsspec, and to those that it is around."""
    for _ in range(DEPTH):
        protocol = getattr(system, "protocol", None)
        if not protocol or not LOCAL.isdisjoint((protocol,) if isinstance(protocol, str) else protocol):
            return False
        inner = getattr(system, "sync_fs", None) or getattr(system, "fs", None)
        if inner is None:
            return True
        system = inner
    return False


def of_package(package: str, obj: Any) -> frozenset[str]:
    """The names of those classes of an object that are of a package, which need not be there."""
    return frozenset(c.__name__ for c in type(obj).__mro__ if c.__module__.partition(".")[0] == package)
