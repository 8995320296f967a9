"""Real receivers for log drivers, on loopback and unix sockets."""

import contextlib
import queue
import socket
import struct
import threading

import msgpack


class Receiver:
    """Listens in a thread; `take` waits for the next message. `stop`, then `listen` again, makes it unavailable for a
    while."""

    family, kind, where = socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)

    def __init__(self, where=None):
        self.where = where or self.where
        self.messages = queue.SimpleQueue()
        self.listen()

    def listen(self):
        self.open, self.connections = True, []
        self.sock = socket.socket(self.family, self.kind)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(self.where)
        self.where = self.sock.getsockname()
        if self.kind == socket.SOCK_STREAM:
            self.sock.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.where[1]

    def serve(self):
        with contextlib.suppress(OSError):
            while self.open:
                if self.kind == socket.SOCK_DGRAM:
                    self.datagram(self.sock)
                else:
                    connection, _ = self.sock.accept()
                    self.connections.append(connection)
                    threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def datagram(self, sock):
        self.messages.put(sock.recv(1 << 20))

    def talk(self, connection):
        with contextlib.suppress(OSError), connection.makefile("rb") as file:
            for line in file:
                self.messages.put(line)

    def take(self, seconds=20):
        return self.messages.get(timeout=seconds)

    def stop(self):
        self.open = False
        for sock in (self.sock, *self.connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.thread.join(5)


class Datagrams(Receiver):
    kind = socket.SOCK_DGRAM


class UnixDatagrams(Datagrams):
    family = socket.AF_UNIX


class UnixStream(Receiver):
    family = socket.AF_UNIX


class Journal(UnixDatagrams):
    """Messages are dictionaries of an entry's fields, from a datagram or a sealed memory file."""

    def datagram(self, sock):
        data, descriptors, _, _ = socket.recv_fds(sock, 1 << 20, 1)
        for fd in descriptors:
            with open(fd, "rb") as file:
                file.seek(0)
                data = file.read()
        self.messages.put(self.parse(data))

    @staticmethod
    def parse(data):
        fields = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (size,) = struct.unpack_from("<Q", data)
                value, data = data[8 : 8 + size], data[9 + size :]
            fields[name.decode()] = value.decode()
        return fields


class Forward(Receiver):
    """A fluentd: messages are (tag, time, record); acknowledges when asked to, unless `silent`."""

    silent = False

    def talk(self, connection):
        messages = msgpack.Unpacker(ext_hook=lambda code, data: struct.unpack(">II", data))
        with contextlib.suppress(OSError):
            while data := connection.recv(1 << 20):
                messages.feed(data)
                for tag, entries, options in messages:
                    if self.silent:
                        continue
                    if "chunk" in options:  # first: a test may close the connection once it has the message
                        connection.sendall(msgpack.packb({"ack": options["chunk"]}))
                    for moment, record in entries:
                        self.messages.put((tag, moment, record))


class Encrypted(Receiver):
    """Over TLS, with the context of a server. `seen`: the client's certificate for each handshake, or the error."""

    def __init__(self, where, context):
        self.context, self.seen = context, queue.SimpleQueue()
        super().__init__(where)

    def talk(self, connection):
        try:
            connection = self.context.wrap_socket(connection, server_side=True)
        except OSError as error:
            self.seen.put(error)
            connection.close()
            return
        self.connections.append(connection)
        self.seen.put(connection.getpeercert())
        super().talk(connection)


class EncryptedForward(Encrypted, Forward):
    pass


class Deaf(Receiver):
    """Accepts connections, but reads nothing from them before `hear`."""

    def __init__(self, where=None):
        self.hearing = threading.Event()
        super().__init__(where)

    def talk(self, connection):
        self.hearing.wait()
        super().talk(connection)

    def stop(self):
        self.hearing.set()
        super().stop()


class DeafForward(Deaf, Forward):
    pass
