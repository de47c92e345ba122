"""Ports that stay a test's own while its server is away, killed or not started yet.

In: nothing. Out: a socket that holds a port of the loopback interface; close it to give the port up.
"""

import socket
import sys


def reserve_port() -> socket.socket:
    """Connections are refused, and nobody else is given the port, until a server listens there.

    On Linux a bound socket that does not listen keeps a port from being chosen by the kernel, for another
    run of the tests or for an outgoing connection; a server that sets ``SO_REUSEADDR``, as ours and Redis
    do, may listen on it all the same.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def port_of(holder: socket.socket) -> int:
    """Its number. Where the system would keep our own server out as well, the port is let go."""
    port: int = holder.getsockname()[1]
    if sys.platform != "linux":
        holder.close()
    return port
