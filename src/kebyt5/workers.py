"""What the processes that share work among cores do first: end with their parent."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Makes this worker exit when the process that started it ends, even if it was killed.

    Otherwise the orphan would keep writing the files that the next run writes.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
