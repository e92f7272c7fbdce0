"""STARTTLS in front of a sink that knows no TLS: started by `counting_sink.py`, several at once.

It greets, answers EHLO and STARTTLS, and passes everything after the handshake on as it comes, a
thread for each connection. Nothing is parsed, so that no message costs it more than decryption.

Usage: starttls_front.py PORT SINK_PORT CERTIFICATE.
"""

import contextlib
import select
import socket
import ssl
import sys
import threading

CHUNK = 1 << 18
HOST = "127.0.0.1"


def negotiate(client: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket | None:
    """Talk until TLS is there (RFC 3207, 4); None when the client leaves before."""
    client.sendall(b"220 front ESMTP\r\n")
    with client.makefile("rb") as lines:
        for line in lines:
            match line.split()[:1]:
                case [verb] if verb.upper() == b"EHLO":
                    client.sendall(b"250-front\r\n250 STARTTLS\r\n")
                case [verb] if verb.upper() == b"STARTTLS":
                    client.sendall(b"220 2.0.0 Ready\r\n")
                    return context.wrap_socket(client, server_side=True)
                case [verb] if verb.upper() == b"QUIT":
                    client.sendall(b"221 2.0.0 Bye\r\n")
                    return None
                case _:
                    client.sendall(b"530 5.7.0 Must issue a STARTTLS command first\r\n")
    return None


def pump(client: ssl.SSLSocket, sink: socket.socket) -> None:
    """Carry bytes both ways until one side has ended."""
    waiting = select.poll()
    waiting.register(client, select.POLLIN)
    waiting.register(sink, select.POLLIN)
    while True:
        ready = {client.fileno()} if client.pending() else {handle for handle, _ in waiting.poll()}
        if client.fileno() in ready:
            data = client.recv(CHUNK)
            if not data:
                return
            sink.sendall(data)
        if sink.fileno() in ready:
            data = sink.recv(CHUNK)
            if not data:
                return
            client.sendall(data)


def serve(client: socket.socket, sink_port: int, context: ssl.SSLContext) -> None:
    """Serve one connection; a client that leaves in mid-sentence is none of our business."""
    with contextlib.suppress(OSError), client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secured = negotiate(client, context)
        if secured is None:
            return
        with secured, socket.create_connection((HOST, sink_port)) as sink:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sink.recv(CHUNK)  # its greeting: the client has had ours
            pump(secured, sink)


def main() -> None:
    """Listen until killed; further processes may listen on the same port."""
    port, sink_port = int(sys.argv[1]), int(sys.argv[2])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((HOST, port))
        listening.listen(200)
        while True:
            client, _ = listening.accept()
            threading.Thread(target=serve, args=(client, sink_port, context), daemon=True).start()


if __name__ == "__main__":
    main()
