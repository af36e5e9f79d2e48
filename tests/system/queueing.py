"""A receiver with a queue in memory, as all real ones have: what it has taken reaches the file only
some time later, and dies with it when it is killed.

    queueing.py SCHEME PORT FILE DELAY_MS [CERT KEY]     SCHEME: tcp, tls or relp

It closes connections back, and answers RELP, as soon as a frame is in memory. Says "listening on".
"""
import collections
import os
import socket
import ssl
import sys
import threading
import time


class Queue:
    def __init__(self, path, delay_s):
        self.file, self.delay_s = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), delay_s
        self.items, self.some = collections.deque(), threading.Condition()
        threading.Thread(target=self.write, daemon=True).start()

    def put(self, messages):
        with self.some:
            self.items.append((time.monotonic() + self.delay_s, b"".join(m + b"\n" for m in messages)))
            self.some.notify()

    def write(self):
        while True:
            with self.some:
                while not self.items:
                    self.some.wait()
                due, lines = self.items.popleft()
            time.sleep(max(0, due - time.monotonic()))
            os.write(self.file, lines)


def counted(data):
    """Octet-counted frames: (messages, answer, rest)."""
    messages = []
    while True:
        head, space, rest = data.partition(b" ")
        if not space or len(rest) < int(head):
            return messages, b"", data
        messages.append(rest[:int(head)])
        data = rest[int(head):]


def relp(data):
    messages, answers = [], b""
    while data:
        if b"\n" not in data:
            break
        parts = data.split(b" ", 3)
        if len(parts) < 3 or (len(parts) == 3 and b"\n" not in parts[2]):
            break
        number, command = parts[0], parts[1]
        if len(parts) == 3 or b"\n" in parts[2]:  # no data: "N close 0\n"
            data = data.partition(b"\n")[2]
            answers += number + b" rsp 0\n"
            continue
        size = int(parts[2])
        if len(parts[3]) < size + 1:
            break
        body, data = parts[3][:size], parts[3][size + 1:]
        if command == b"syslog":
            messages.append(body)
            answers += number + b" rsp 6 200 OK\n"
        else:
            text = b"200 OK\nrelp_version=0\nrelp_software=queueing\ncommands=syslog"
            answers += number + b" rsp " + str(len(text)).encode() + b" " + text + b"\n"
    return messages, answers, data


def serve(conn, tls, parse, queue):
    try:
        if tls:
            conn = tls.wrap_socket(conn, server_side=True)
        data = b""
        while True:
            more = conn.recv(65536)
            if not more:
                break
            messages, answer, data = parse(data + more)
            if messages:
                queue.put(messages)
            if answer:
                conn.sendall(answer)
        if tls:
            conn = conn.unwrap()
    except OSError:
        pass
    conn.close()


def main():
    scheme, port, path, delay_ms = sys.argv[1:5]
    tls = None
    if scheme == "tls":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*sys.argv[5:7])
    queue = Queue(path, int(delay_ms) / 1000)
    listener = socket.create_server(("127.0.0.1", int(port)))
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn, tls, relp if scheme == "relp" else counted, queue),
                         daemon=True).start()


if __name__ == "__main__":
    main()
