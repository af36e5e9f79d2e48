"""A host at the other end of a cable: a network namespace of its own, a veth pair, and what can happen
to a cable. Needs root, and a network namespace of the test's own on this end.
"""
import ctypes
import os
import select
import socket
import struct
import subprocess
import threading

from harness import check

CLONE_NEWNET = 0x40000000
FIN, SYN, RST, ACK = 1, 2, 4, 16


def ip(*argv, fine=False):
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, check=False)
    check(fine or done.returncode == 0, f"ip {' '.join(argv)}: {done.stderr}")


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Cable:
    """number: tells cables of one test apart, 0..255."""

    def __init__(self, number):
        self.space = f"slsr-far-{os.getpid()}-{number}"
        self.near, self.far = f"near{number}", f"far{number}"
        self.here, self.there = f"10.231.{number}.1", f"10.231.{number}.2"

    def __enter__(self):
        ip("netns", "add", self.space)
        ip("link", "add", self.near, "type", "veth", "peer", "name", self.far, "netns", self.space)
        ip("addr", "add", self.here + "/30", "dev", self.near)
        ip("link", "set", self.near, "up")
        ip("-n", self.space, "addr", "add", self.there + "/30", "dev", self.far)
        ip("-n", self.space, "link", "set", self.far, "up")
        ip("-n", self.space, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        ip("link", "del", self.near, fine=True)
        ip("netns", "del", self.space, fine=True)
        return False

    def over_there(self, argv):
        return ["ip", "netns", "exec", self.space, *argv]

    def plug(self, on):
        ip("-n", self.space, "link", "set", self.far, "up" if on else "down")

    def swallow(self, on):
        """Both ends send to a station that does not exist: packets vanish, nobody hears why."""
        for where, peer, device in (((), self.there, self.near),
                                    (("-n", self.space), self.here, self.far)):
            if on:
                ip(*where, "neigh", "replace", peer, "lladdr", "02:00:00:00:00:99", "dev", device,
                   "nud", "permanent")
            else:
                ip(*where, "neigh", "del", peer, "dev", device)

    def far_socket(self):
        """A raw socket over there; only the thread that makes it goes there."""
        made = []

        def make():
            fd = os.open(f"/var/run/netns/{self.space}", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) == 0:
                made.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
            os.close(fd)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        check(made, "cannot enter the network namespace")
        return made[0]


class Middlebox:
    """Somebody on the way who ends a connection: a reset to each end, in the name of the other."""

    def __init__(self, cable, port):
        self.cable, self.port = cable, port
        self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self.tap.bind((cable.near, 0))
        self.tap.settimeout(2)
        self.to_here = cable.far_socket()
        self.to_there = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def close(self):
        for sock in (self.tap, self.to_here, self.to_there):
            sock.close()

    def acknowledgement(self):
        """The next one that comes from there: (port of the relay, seq, ack)."""
        while self.waiting():
            self.tap.recv(65536)  # what lies there is old
        while True:
            packet = self.tap.recv(65536)
            if packet[12:14] != b"\x08\x00" or packet[23] != 6:
                continue
            tcp = packet[14 + (packet[14] & 15) * 4:]
            source, to, seq, ack = struct.unpack("!HHII", tcp[:12])
            if source == self.port and tcp[13] & (FIN | SYN | RST | ACK) == ACK:
                return to, seq, ack

    def waiting(self):
        return bool(select.select([self.tap], [], [], 0)[0])

    def send(self, through, source, to, seq):
        """source and to: (address, port)."""
        addresses = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
        tcp = struct.pack("!HHIIBBHHH", source[1], to[1], seq, 0, 5 << 4, RST, 0, 0, 0)
        total = ones_sum(addresses + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
        tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + addresses
        through.sendto(head + tcp, (to[0], 0))

    def reset(self):
        """In the middle of whatever is under way: segments and frames do not end together. Nothing when
        nothing passes."""
        try:
            port, seq, ack = self.acknowledgement()
        except TimeoutError:
            return
        here, there = (self.cable.here, port), (self.cable.there, self.port)
        self.send(self.to_here, there, here, seq)
        # If more has arrived there meanwhile, that end asks back, and ours answers with a reset.
        self.send(self.to_there, here, there, ack)
