"""Several services, each in a process of its own, with a log and the sessions of some of the visitors.

    supervise(serve, [first, second])       # calls serve(first) and serve(second), in processes

A log and its sessions have one owner, so services share nothing: a proxy gives each visitor always the same
one (`upstream`).
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any

from rezoo.errors import DataError

PAUSE = 1.0
"""Seconds before a service that has ended is started again."""


def supervise(serve: Callable[[Any], None], parts: Sequence[Any]) -> None:
    """A process for each part, started again when it ends, until this process gets SIGTERM or SIGINT.

    Args:
      serve: serves a part until it is stopped; can be pickled.
      parts: its argument in each process.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = multiprocessing.get_context("spawn")
    running: list[Any] = [None] * len(parts)
    try:
        while True:
            for n, part in enumerate(parts):
                if running[n] is None or not running[n].is_alive():
                    running[n] = context.Process(target=_serve, args=(serve, part))
                    running[n].start()
            connection.wait([process.sentinel for process in running])
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        pass
    finally:
        for process in filter(None, running):
            process.terminate()
        for process in filter(None, running):
            process.join()


def _serve(serve: Callable[[Any], None], part: Any) -> None:
    """Serve a part, until this process is stopped or the one that started it has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    try:
        serve(part)
    except DataError as error:
        sys.exit(f"error: {error}")


def upstream(addresses: Sequence[str]) -> str:
    """The services for nginx, which finds the visitor in the header X-Visitor, or else in the address.

    >>> print(upstream(["127.0.0.1:8000", "127.0.0.1:8001"]))
    map $http_x_visitor $visitor { "" $arg_visitor; default $http_x_visitor; }
    upstream rezoo {
        hash $visitor consistent;
        server 127.0.0.1:8000;
        server 127.0.0.1:8001;
        keepalive 64;
    }
    """
    servers = "\n".join(f"    server {address};" for address in addresses)
    return (
        'map $http_x_visitor $visitor { "" $arg_visitor; default $http_x_visitor; }\n'
        f"upstream rezoo {{\n    hash $visitor consistent;\n{servers}\n    keepalive 64;\n}}"
    )
