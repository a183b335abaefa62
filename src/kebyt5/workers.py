"""Worker processes."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Has this worker end with the process that started it, even where that was killed.

    Else it would go on writing what the next call writes too.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


__all__ = ["end_with_parent"]
