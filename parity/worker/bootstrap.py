"""The first function in the worker's process: execnet sends its source alone, so it refers to nothing else."""

from __future__ import annotations


def start_worker(channel, archive: bytes, handlers: str, folder: str, shared: list) -> None:  # type: ignore[no-untyped-def, type-arg]  # the types' names are not sent
    """Put the archive of the worker's sources on the path, and serve until the harness goes.

    Parameters
    ----------
    handlers
        The module that has ``HANDLERS``.
    folder
        A folder of this conversation's own, where both ends run on one machine; empty otherwise.
    shared
        Folders for mapped files, where both ends run on one machine.
    """
    import os
    import sys
    import tempfile
    from pathlib import Path

    # execnet has moved its pipe away from 1. What C++ code prints goes where the interpreter's own errors go.
    os.dup2(2, 1)
    if "" in sys.path:
        # "python -c" looks for modules in the current folder first, and that may be anybody's.
        sys.path.remove("")
    if not folder or not Path(folder).is_dir():
        folder, shared = tempfile.mkdtemp(prefix=f"parity-worker-{os.getpid()}-"), []
    path = Path(folder, "parity_worker.zip")
    path.write_bytes(archive)
    sys.path.insert(0, str(path))
    from parity_worker.serve import serve  # type: ignore[import-not-found]

    serve(channel, handlers, folder, shared)
