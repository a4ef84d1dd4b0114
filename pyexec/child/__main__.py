"""The Python child of dtpnode: a process that forks what runs a user's Python code.

`dtpnode` starts it as ``python FOLDER``, with a socket as descriptor 3, and drives it by the protocol that
``exec/child/doc.go`` describes. ``sys.argv[1]`` is a folder with the libraries that the child itself needs, which are
found there if the interpreter has none of its own; it is empty where the interpreter has them.

    frames.py      frames on a socket, and the page that a process shares with the node
    items.py       blobs of items, which units are read from
    partial.py     the file format of partials and results
    imports.py     modules that are imported before there is code
    code.py        the user's code, as a source or as a pickle
    root.py        pickles of objects of ROOT
    versions.py    modules of the host beside those of the submitter
    workers.py     what forks do: generations, merges, sessions
    zygote.py      processes that fork
"""

import os
import sys

HERE = sys.path.pop(0)  # Names in this folder must not be found by the user's own imports.


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1]:
        sys.path.append(sys.argv[1])  # Last, so that the user's own versions are taken where there are some.
    sys.argv[:] = [""]  # What this process was started with is nothing of the user's code, which may parse arguments.
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "_dtpnode_child", os.path.join(HERE, "__init__.py"), submodule_search_locations=[HERE]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules["_dtpnode_child"] = package
    spec.loader.exec_module(package)
    from _dtpnode_child import zygote

    zygote.serve_base()


if __name__ == "__main__":  # It is not where multiprocessing starts another interpreter from here.
    main()
