"""A reserved port is nobody else's, and a server may come and go on it."""

import socket
import sys
from contextlib import ExitStack

import pytest
from ports import port_of, reserve_port

from teacher_service.serve import bind

linux_alone = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports cannot be held")


@linux_alone
def test_a_server_may_listen_on_a_reserved_port_again_and_again_and_is_refused_in_between() -> None:
    with reserve_port() as holder:
        address = ("127.0.0.1", port_of(holder))
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, timeout=10)
            with bind(*address) as server:
                server.listen()
                with socket.create_connection(address, timeout=10) as client:
                    assert client.getpeername() == address


@linux_alone
def test_a_reserved_port_is_given_to_no_other_server_and_to_no_outgoing_connection() -> None:
    """So many that the kernel would likely repeat itself if it chose blindly."""
    with ExitStack() as stack:
        reserved = {port_of(stack.enter_context(reserve_port())) for _ in range(300)}
        assert len(reserved) == 300
        server = stack.enter_context(bind("127.0.0.1", 0))
        server.listen(300)
        address = server.getsockname()
        outgoing = {
            stack.enter_context(socket.create_connection(address, timeout=10)).getsockname()[1]
            for _ in range(300)
        }
        assert not reserved & {address[1], *outgoing}
