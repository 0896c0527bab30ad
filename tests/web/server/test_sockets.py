from __future__ import annotations

import socket

import pytest

from exporter.config.address import Address
from exporter.errors import StartError
from exporter.web.server.sockets import bound_address, listen


def ipv6_available() -> bool:
    """Find out whether this machine can listen on IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not ipv6_available(), reason="this machine has no IPv6")


class TestListen:
    def test_finds_a_free_port(self) -> None:
        """Port 0 becomes a real one."""
        (sock,) = listen([Address("127.0.0.1", 0)])

        with sock:
            assert bound_address(sock).port > 0

    def test_answers_are_sent_at_once(self) -> None:
        """The protocol is stated, without which asyncio leaves Nagle's algorithm on."""
        (sock,) = listen([Address("127.0.0.1", 0)])

        with sock:
            assert socket.IPPROTO_TCP == sock.proto

    def test_port_in_use_is_one_clear_line(self) -> None:
        """The message names the address and the remedy, and nothing stays bound."""
        (taken,) = listen([Address("127.0.0.1", 0)])
        address = bound_address(taken)
        (other,) = listen([Address("127.0.0.1", 0)])
        free = bound_address(other)
        other.close()

        with taken, pytest.raises(StartError) as caught:
            listen([free, address])

        assert (
            f"cannot listen on {address}: the port is in use; stop what uses it or set another "
            "web.listen_address"
        ) == str(caught.value)
        (again,) = listen([free])
        again.close()

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
    def test_foreign_address_is_one_clear_line(self, host: str) -> None:
        """An address of another machine, or of none, is refused by name."""
        with pytest.raises(StartError) as caught:
            listen([Address(host, 0)])

        assert str(caught.value).startswith(f"cannot listen on {host}:0: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("host", ["", pytest.param("::", marks=needs_ipv6)])
    def test_everywhere_takes_ipv4(self, host: str) -> None:
        """Without a host, and on [::], IPv4 is served as well."""
        (sock,) = listen([Address(host, 0)])
        port = bound_address(sock).port

        with sock, socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert port == client.getpeername()[1]

    @needs_ipv6
    def test_both_kinds_on_one_port(self) -> None:
        """IPv4 and IPv6 can be listed one beside the other with the same port."""
        (probe,) = listen([Address("0.0.0.0", 0)])
        port = bound_address(probe).port
        probe.close()

        sockets = listen([Address("0.0.0.0", port), Address("::", port)])

        for sock in sockets:
            sock.close()
        assert 2 == len(sockets)
