"""The proxy of the tests is a proxy: keep-alive, large bodies, and cuts just where a test asks."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import ClassVar

import httpx
import pytest
from reverse_proxy import Exchange, ReverseProxy

LARGE = bytes(range(256)) * 12_000  # 3 MB: more than any buffer on the way


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what was sent; 413 without reading for a path of that name."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[int, bytes]]] = []

    def do_POST(self) -> None:
        if self.path == "/413":
            self._answer(413, b"too large")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/413":
            return
        self.seen.append((self.server.server_port, body))
        self._answer(200, body)

    def do_GET(self) -> None:
        if self.path == "/die":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def address_of(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def backends() -> Iterator[list[http.server.ThreadingHTTPServer]]:
    _Echo.seen.clear()
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    yield servers
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def proxy(backends: list[http.server.ThreadingHTTPServer]) -> Iterator[ReverseProxy]:
    with ReverseProxy([address_of(server) for server in backends]) as running:
        yield running


@pytest.fixture
def client(proxy: ReverseProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.address, trust_env=False, verify=False, timeout=10) as running:
        yield running


def test_requests_take_turns_on_one_connection_and_bodies_arrive_whole(
    proxy: ReverseProxy, client: httpx.Client
) -> None:
    ports = set()
    for _ in range(4):
        answer = client.post("/", content=LARGE)
        assert answer.content == LARGE
        ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(ports) == 1
    assert [exchange.backend for exchange in proxy.exchanges] == proxy.backends * 2
    assert client.get("/").text == "abcde"  # chunked
    assert client.head("/none").status_code == 501  # an answer without its body
    assert client.get("/").text == "abcde"


def test_a_backend_that_is_gone_is_passed_over_and_without_any_the_answer_is_503(
    proxy: ReverseProxy, client: httpx.Client
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    living = proxy.backends[0]
    proxy.backends = [nobody, living]
    assert [client.post("/", content=b"x").content for _ in range(4)] == [b"x"] * 4
    proxy.backends = [nobody]
    answer = client.post("/", content=b"x")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_backend_that_breaks_off_gives_502_and_is_not_asked_again(
    proxy: ReverseProxy, client: httpx.Client
) -> None:
    assert client.get("/die").status_code == 502
    assert len(proxy.exchanges) == 1


def test_an_answer_before_the_end_of_the_body_is_passed_on(client: httpx.Client) -> None:
    assert client.post("/413", content=LARGE * 4).status_code == 413


@pytest.mark.parametrize("n", [0, 20, 2_000_000])
def test_an_answer_is_cut_after_exactly_n_bytes(proxy: ReverseProxy, n: int) -> None:
    statuses: list[int | None] = []

    def cut(exchange: Exchange) -> int | None:
        statuses.append(exchange.status)
        return n

    proxy.on_answer = cut
    host, port = proxy.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LARGE)}\r\n\r\n"
        plain.sendall(head.encode() + LARGE)
        received = b""
        while piece := plain.recv(1 << 16):
            received += piece
    assert len(received) == n
    assert statuses == [200]
    assert [body for _, body in _Echo.seen] == [LARGE]


def test_a_request_can_be_cut_once_it_was_forwarded(proxy: ReverseProxy, client: httpx.Client) -> None:
    proxy.on_request = lambda exchange: exchange.method == "POST"
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/", content=b"x")
    proxy.on_request = None
    assert client.post("/", content=b"y").content == b"y"
