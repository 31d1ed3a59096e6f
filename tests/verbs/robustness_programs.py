# SPDX-License-Identifier: Apache-2.0
"""robustness_programs.py PROGRAM [ARGUMENT]: what robustness.sh runs. Exit code 1: it failed; 77:
there are no bindings."""

import json
import os
import signal
import socket
import sys
import time

IDLE_S = 2
ARRIVAL_S = 20
FLOOD = 300
FLOOD_BYTES = 2048  # so many do not fit into a link


def sides():
    try:
        import pyverbs_programs
    except SystemExit:
        sys.exit(77)
    return pyverbs_programs


def used_s():
    """Processor time of this process, all threads, as /proc has it."""
    with open("/proc/self/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(most_percent):
    programs = sides()
    open_device = programs.Side()
    before = used_s()
    began = time.monotonic()
    time.sleep(IDLE_S)
    percent = 100 * (used_s() - before) / (time.monotonic() - began)
    open_device.close()
    print(f"an open device that nobody uses: {percent:.1f}% of a core")
    return 0 if percent <= float(most_percent) else 1


class Remote:
    """What a side must know of one in another process, sent over a pipe."""

    def __init__(self, source):
        self.qp = self.port = self.mr = self
        self.qp_num, self.lid, self.rkey, self.buf = json.loads(source.readline())

    @staticmethod
    def tell(side, sink):
        print(json.dumps([side.qp.qp_num, side.port.lid, side.mr.rkey, side.mr.buf]), file=sink,
              flush=True)


def pipe():
    read, write = os.pipe()
    return open(read, encoding="ascii"), open(write, "w", encoding="ascii")


def await_data(side, wanted):
    end = time.monotonic() + ARRIVAL_S
    while side.mr.read(len(wanted), 0) != wanted:
        side.cq.poll(1)
        if time.monotonic() > end:
            return 1
    return 0


def run_child(body):
    """Forks; in the child nothing but body() is run."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = body()
        finally:
            os._exit(status)
    return child


def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fork():
    """With a device open: a child that does nothing with it, then one that opens a device of its
    own, which its parent writes to."""
    programs = sides()
    left, right = programs.pair()
    if (status := status_of(run_child(lambda: 0))) != 0:
        print(f"the child that does nothing ended with {status}")
        return 1
    from_child, to_parent = pipe()
    from_parent, to_child = pipe()
    data = programs.pattern(5, 5000)

    def receive():
        side = programs.Side()
        Remote.tell(side, to_parent)
        side.connect(Remote(from_parent))
        print("connected", file=to_parent, flush=True)
        return await_data(side, data)

    child = run_child(receive)
    to_parent.close()
    side, remote = programs.Side(), Remote(from_child)
    Remote.tell(side, to_child)
    side.connect(remote)
    programs.same("the child", from_child.readline(), "connected\n")
    side.mr.write(data, len(data), 0)
    side.post(programs.e.IBV_WR_RDMA_WRITE, 0, len(data), prepare=programs.to(remote))
    side.done()
    if (status := status_of(child)) != 0:
        print(f"the child that opens a device ended with {status}")
        return 1
    left.mr.write(data, len(data), 0)
    left.post(programs.e.IBV_WR_RDMA_WRITE, 0, len(data), prepare=programs.to(right))
    left.done()
    programs.same("data", right.mr.read(len(data), 0), data)
    programs.closes(left, right, side)
    return 0


def leave(how):
    """Ends with writes under way and everything open."""
    programs = sides()
    left, right = programs.pair()
    for _ in range(60):
        left.post(programs.e.IBV_WR_RDMA_WRITE, 0, 65536, prepare=programs.to(right))
    sys.stdout.flush()
    if how == "exit":
        os._exit(0)
    return 0


def holders():
    """Who has which socket open, of the processes that we may look at: inode to environment."""
    found = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read().split(b"\0")
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:["):
                    found[target[8:-1]] = environment
        except OSError:
            continue
    return found


def names():
    """The links' names of programs with our TMPDIR, and those that no program has any more."""
    ours = f"TMPDIR={os.environ['TMPDIR']}".encode()
    found = set()
    holder_of = holders()
    with open("/proc/net/unix", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if not words[-1].startswith(f"@ringer-{os.getuid()}-"):
                continue
            if ours in holder_of.get(words[6], [ours]):
                found.add(words[-1])
    return sorted(found)


def intrude(name):
    """Another user's connection must be dropped, with nothing said to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.settimeout(20)
        try:
            peer.connect("\0" + name.removeprefix("@"))
            said = peer.recv(64)
        except ConnectionError:
            return 0
        except TimeoutError:
            print("the connection was kept")
            return 1
    if said:
        print(f"it was told {said!r}")
    return 1 if said else 0


def flood():
    """Datagrams to a process that is stopped: what its link has no room for is lost, and their
    sender goes on."""
    programs = sides()
    kind = programs.e.IBV_QPT_UD
    from_child, to_parent = pipe()

    def stop():
        side = programs.Side(kind)
        Remote.tell(side, to_parent)
        os.kill(os.getpid(), signal.SIGSTOP)
        return 0

    child = run_child(stop)
    side, remote = programs.Side(kind), Remote(from_child)
    os.waitpid(child, os.WUNTRACED)
    address = programs.datagram_to(side, remote)
    done = 0
    end = time.monotonic() + ARRIVAL_S
    try:
        for _ in range(FLOOD):
            side.post(programs.e.IBV_WR_SEND, 0, FLOOD_BYTES, programs.e.IBV_SEND_SIGNALED, address)
            while side.cq.poll(1)[0] == 0:
                if time.monotonic() > end:
                    print(f"after {done} datagrams their sender waits")
                    return 1
            done += 1
    finally:
        os.kill(child, signal.SIGKILL)
    side.close()
    return 0


def farewell():
    """A receiver takes a message and ends while its sender is stopped: the acknowledgement that it
    has left behind counts."""
    programs = sides()
    from_receiver, to_sender = pipe()
    from_sender, to_receiver = pipe()

    def receive():
        side = programs.Side()
        Remote.tell(side, to_sender)
        side.connect(Remote(from_sender))
        side.receive(0, 64)
        print("ready", file=to_sender, flush=True)
        side.done()
        side.close()
        return 0

    def send():
        side = programs.Side()
        remote = Remote(from_receiver)
        Remote.tell(side, to_receiver)
        side.connect(remote)
        programs.same("the receiver", from_receiver.readline(), "ready\n")
        before = side.sent_psn()
        side.post(programs.e.IBV_WR_SEND, 0, 64)
        end = time.monotonic() + ARRIVAL_S
        while side.sent_psn() == before:
            if time.monotonic() > end:
                return 1
        os.kill(os.getpid(), signal.SIGSTOP)
        side.done()
        side.close()
        return 0

    receiver, sender = run_child(receive), run_child(send)
    os.waitpid(sender, os.WUNTRACED)
    received = status_of(receiver)
    os.kill(sender, signal.SIGCONT)
    sent = status_of(sender)
    print(f"receiver ended with {received}, sender with {sent}")
    return received or sent


def hold():
    """An open device, until the input ends."""
    open_device = sides().Side()
    print("open", flush=True)
    sys.stdin.read()
    open_device.close()
    return 0


def main(program, *arguments):
    if program == "names":
        print("\n".join(names()))
        return 0
    known = {"idle": idle, "fork": fork, "leave": leave, "intrude": intrude, "hold": hold, "flood": flood,
             "farewell": farewell}
    return known[program](*arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
