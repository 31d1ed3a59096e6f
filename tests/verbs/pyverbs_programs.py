# SPDX-License-Identifier: Apache-2.0
"""Small verbs programs by rdma-core's Python bindings, on the first device. Each makes its queue
pairs, moves data and looks at every byte. Exit code 1: one failed; 77: there are no bindings."""

import faulthandler
import os
import sys
import traceback

try:
    import pyverbs.enums as e
    from pyverbs.addr import AH, AHAttr
    from pyverbs.cq import CQ, CompChannel
    from pyverbs.device import Context
    from pyverbs.mr import MR, MW, MWBindInfo
    from pyverbs.pd import PD
    from pyverbs.pyverbs_error import PyverbsRDMAError
    from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
    from pyverbs.srq import SRQ, SrqAttr, SrqInitAttr
    from pyverbs.wr import SGE, RecvWR, SendWR
except ImportError:
    print("SKIPPED: programs by pyverbs: python3-pyverbs is not installed")
    sys.exit(77)

BYTES = 65536
POLLS = 20_000_000
LIMIT_S = 60
QKEY = 0x1EE7
GRH_BYTES = 40
RIGHTS = (e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ
          | e.IBV_ACCESS_REMOTE_ATOMIC)
NAMES = {e.IBV_QPT_RC: "RC", e.IBV_QPT_UC: "UC", e.IBV_QPT_UD: "UD"}


class Side:
    """One end: a context of its own, memory, a completion queue and a queue pair."""

    def __init__(self, kind=e.IBV_QPT_RC, shared=False, events=False, mr_rights=RIGHTS):
        self.kind = kind
        self.context = Context(name="mlx5_0")
        self.pd = PD(self.context)
        self.mr = MR(self.pd, BYTES, mr_rights)
        self.port = self.context.query_port(1)
        self.channel = CompChannel(self.context) if events else None
        self.cq = CQ(self.context, 128, None, self.channel, 0)
        self.srq = SRQ(self.pd, SrqInitAttr(SrqAttr(max_wr=64))) if shared else None
        init = QPInitAttr(qp_type=kind, scq=self.cq, rcq=self.cq, srq=self.srq,
                          cap=QPCap(max_send_wr=64, max_recv_wr=64, max_inline_data=64))
        self.qp = QP(self.pd, init, self.attributes())

    def attributes(self):
        attr = QPAttr(port_num=1)
        if self.kind == e.IBV_QPT_UD:
            attr.qkey = QKEY
        else:
            attr.qp_access_flags = (e.IBV_ACCESS_REMOTE_WRITE if self.kind == e.IBV_QPT_UC
                                    else RIGHTS)
        return attr

    def connect(self, peer):
        if self.kind == e.IBV_QPT_UD:
            return
        attr = self.attributes()
        attr.path_mtu = e.IBV_MTU_1024
        attr.dest_qp_num = peer.qp.qp_num
        attr.ah_attr = AHAttr(port_num=1, dlid=peer.port.lid)
        attr.max_rd_atomic = attr.max_dest_rd_atomic = 4
        attr.min_rnr_timer, attr.timeout, attr.retry_cnt, attr.rnr_retry = 12, 10, 3, 3
        self.qp.to_rts(attr)

    def entry(self, offset, length):
        return SGE(self.mr.buf + offset, length, self.mr.lkey)

    def sent_psn(self):
        """Of the next packet: once it has changed, one is on its way."""
        return self.qp.query(e.IBV_QP_SQ_PSN)[0].sq_psn

    def expected_psn(self):
        return self.qp.query(e.IBV_QP_RQ_PSN)[0].rq_psn

    def receive(self, offset, length, wr_id=1):
        (self.srq or self.qp).post_recv(RecvWR(wr_id=wr_id, num_sge=1,
                                               sg=[self.entry(offset, length)]))

    def post(self, opcode, offset=0, length=0, flags=0, prepare=None, imm=0, wr_id=7):
        entries = [self.entry(offset, length)] if length else []
        wr = SendWR(wr_id=wr_id, opcode=opcode, num_sge=len(entries), sg=entries, imm_data=imm,
                    send_flags=e.IBV_SEND_SIGNALED | flags)
        if prepare:
            prepare(wr)
        self.qp.post_send(wr)

    def poll(self):
        for _ in range(POLLS):
            count, found = self.cq.poll(1)
            if count:
                return found[0]
        raise AssertionError("no completion")

    def done(self, status=e.IBV_WC_SUCCESS, opcode=None):
        wc = self.poll()
        same("status", wc.status, status)
        if opcode is not None:
            same("opcode", wc.opcode, opcode)
        return wc

    def close(self):
        self.context.close()


def same(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r:.60}, wanted {wanted!r:.60}")


def pattern(seed, count):
    return bytes((seed + 31 * i + i // 256) % 256 for i in range(count))


def pair(kind=e.IBV_QPT_RC, **options):
    left, right = Side(kind, **options), Side(kind, **options)
    left.connect(right)
    right.connect(left)
    return left, right


def closes(*sides):
    for side in sides:
        side.close()


def to(side, offset=0, key=None):
    rkey = side.mr.rkey if key is None else key
    return lambda wr: wr.set_wr_rdma(rkey, side.mr.buf + offset)


def datagram_to(sender, peer):
    ah = AH(sender.pd, attr=AHAttr(port_num=1, dlid=peer.port.lid))
    return lambda wr: wr.set_wr_ud(ah, peer.qp.qp_num, QKEY)


def device():
    side = Side()
    attr = side.context.query_device()
    assert attr.max_qp > 0 and attr.max_cqe > 0 and attr.max_mr > 0
    same("port", side.port.state, e.IBV_PORT_ACTIVE)
    same("state", side.qp.query(e.IBV_QP_STATE)[0].qp_state, e.IBV_QPS_INIT)
    closes(side)


def send(kind):
    left, right = pair(kind)
    gap = GRH_BYTES if kind == e.IBV_QPT_UD else 0
    most = 2048 if kind == e.IBV_QPT_UD else 20000
    address = datagram_to(left, right) if gap else None
    for number, length in enumerate((1, 60, 1024, 1025, most)):
        flags = e.IBV_SEND_INLINE if length == 60 else 0
        data = pattern(number, length)
        left.mr.write(data, length, 100)
        right.receive(3, length + gap, wr_id=number)
        if number % 2:
            left.post(e.IBV_WR_SEND_WITH_IMM, 100, length, flags, address, imm=0xABCD + number)
        else:
            left.post(e.IBV_WR_SEND, 100, length, flags, address)
        left.done(opcode=e.IBV_WC_SEND)
        wc = right.done(opcode=e.IBV_WC_RECV)
        same("wr_id", wc.wr_id, number)
        same("bytes", wc.byte_len, length + gap)
        same("immediate", bool(wc.wc_flags & e.IBV_WC_WITH_IMM), number % 2 == 1)
        if number % 2:
            same("immediate", wc.imm_data, 0xABCD + number)
        if gap:
            same("sender", wc.src_qp, left.qp.qp_num)
        same("data", right.mr.read(length, 3 + gap), data)
    closes(left, right)


def write(kind):
    left, right = pair(kind)
    for number, length in enumerate((1, 28, 1024, 30001)):
        data = pattern(number, length)
        left.mr.write(data, length, 5)
        right.mr.write(b"\xee" * (length + 2), length + 2, 39)
        flags = e.IBV_SEND_INLINE if length == 28 else 0
        left.post(e.IBV_WR_RDMA_WRITE, 5, length, flags, to(right, 40))
        left.done(opcode=e.IBV_WC_RDMA_WRITE)
        # An unreliable write is done when it has left: what follows it tells that it has arrived.
        right.receive(0, 1)
        left.post(e.IBV_WR_RDMA_WRITE_WITH_IMM, 0, 1, prepare=to(right), imm=number)
        left.done()
        wc = right.done(opcode=e.IBV_WC_RECV_RDMA_WITH_IMM)
        same("immediate", wc.imm_data, number)
        same("data", right.mr.read(length + 2, 39), b"\xee" + data + b"\xee")
    closes(left, right)


def packet_numbers():
    """They are those of the next packets, not those that the queue pair began with."""
    left, right = pair()
    for length in (1, 5000):  # packets of 1024 bytes
        before = left.sent_psn()
        same("at the start", right.expected_psn(), before)
        left.post(e.IBV_WR_RDMA_WRITE, 0, length, prepare=to(right))
        left.done()
        same("sent", left.sent_psn(), before + (length + 1023) // 1024)
        same("expected", right.expected_psn(), left.sent_psn())
    closes(left, right)


def read_and_atomics():
    left, right = pair()
    data = pattern(9, 5000)
    right.mr.write(data, 5000, 64)
    left.post(e.IBV_WR_RDMA_READ, 16, 5000, prepare=to(right, 64))
    left.done(opcode=e.IBV_WC_RDMA_READ)
    same("data", left.mr.read(5000, 16), data)
    right.mr.write((1000).to_bytes(8, sys.byteorder), 8, 0)
    at = right.mr.buf
    left.post(e.IBV_WR_ATOMIC_FETCH_AND_ADD, 8, 8,
              prepare=lambda wr: wr.set_wr_atomic(right.mr.rkey, at, 234, 0))
    left.done(opcode=e.IBV_WC_FETCH_ADD)
    same("value before", int.from_bytes(left.mr.read(8, 8), sys.byteorder), 1000)
    for compare, after in ((1, 1234), (1234, 77)):
        left.post(e.IBV_WR_ATOMIC_CMP_AND_SWP, 8, 8,
                  prepare=lambda wr, c=compare: wr.set_wr_atomic(right.mr.rkey, at, c, 77))
        left.done(opcode=e.IBV_WC_COMP_SWAP)
        same("value before", int.from_bytes(left.mr.read(8, 8), sys.byteorder), 1234)
        same("value", int.from_bytes(right.mr.read(8, 0), sys.byteorder), after)
    closes(left, right)


def shared_receive_queue():
    left, right = pair(shared=True)
    for number in range(20):
        right.receive(number * 100, 100, wr_id=number)
    for number in range(20):
        left.mr.write(pattern(number, 100), 100, 0)
        left.post(e.IBV_WR_SEND, 0, 100)
        left.done()
        wc = right.done(opcode=e.IBV_WC_RECV)
        same("data", right.mr.read(100, wc.wr_id * 100), pattern(number, 100))
    closes(left, right)


def refused(what, status, prepare_of, opcode=e.IBV_WR_RDMA_WRITE, responder=RIGHTS):
    left, right = pair(mr_rights=responder)
    left.post(opcode, 0, 64, prepare=prepare_of(right))
    wc = left.poll()
    same(what, wc.status, status)
    left.post(opcode, 0, 64, prepare=prepare_of(right))
    left.done(e.IBV_WC_WR_FLUSH_ERR)
    same("state", left.qp.query(e.IBV_QP_STATE)[0].qp_state, e.IBV_QPS_ERR)
    closes(left, right)


def errors():
    refused("wrong key", e.IBV_WC_REM_ACCESS_ERR, lambda r: to(r, key=r.mr.rkey + 256))
    refused("beyond the end", e.IBV_WC_REM_ACCESS_ERR, lambda r: to(r, offset=BYTES - 8))
    refused("no right", e.IBV_WC_REM_ACCESS_ERR, to, e.IBV_WR_RDMA_READ,
            e.IBV_ACCESS_LOCAL_WRITE)
    left, right = pair()
    left.qp.post_send(SendWR(opcode=e.IBV_WR_SEND, num_sge=1, send_flags=e.IBV_SEND_SIGNALED,
                             sg=[SGE(left.mr.buf, 8, left.mr.lkey + 256)]))
    left.done(e.IBV_WC_LOC_PROT_ERR)
    closes(left, right)
    left, right = pair()
    right.receive(0, 8)
    left.post(e.IBV_WR_SEND, 0, 64)
    left.done(e.IBV_WC_REM_INV_REQ_ERR)
    right.done(e.IBV_WC_LOC_LEN_ERR)
    closes(left, right)
    left, right = pair()
    left.post(e.IBV_WR_SEND, 0, 8)
    left.done(e.IBV_WC_RNR_RETRY_EXC_ERR)
    closes(left, right)


def completion_events():
    left, right = pair(events=True)
    for number in range(5):
        right.cq.req_notify()
        right.receive(0, 64)
        left.mr.write(pattern(number, 64), 64, 0)
        left.post(e.IBV_WR_SEND, 0, 64)
        left.done()
        right.channel.get_cq_event(right.cq)
        right.cq.ack_events(1)
        right.done(opcode=e.IBV_WC_RECV)
        same("data", right.mr.read(64, 0), pattern(number, 64))
    closes(left, right)


def bound_window(side):
    """A window of type 2 on the second page of the memory, and its key."""
    window = MW(side.pd, e.IBV_MW_TYPE_2)
    bind = SendWR(opcode=e.IBV_WR_BIND_MW, send_flags=e.IBV_SEND_SIGNALED)
    bind.set_bind_wr(window, MWBindInfo(side.mr, side.mr.buf + 4096, 4096,
                                        e.IBV_ACCESS_REMOTE_WRITE))
    side.qp.post_send(bind)
    side.done(opcode=e.IBV_WC_BIND_MW)
    return window, bind.rkey


def memory_window():
    rights = RIGHTS | e.IBV_ACCESS_MW_BIND
    left, right = pair(mr_rights=rights)
    window, key = bound_window(right)
    left.mr.write(pattern(3, 4096), 4096, 0)
    left.post(e.IBV_WR_RDMA_WRITE, 0, 4096, prepare=to(right, 4096, key))
    left.done()
    same("data", right.mr.read(4096, 4096), pattern(3, 4096))
    right.qp.post_send(SendWR(opcode=e.IBV_WR_LOCAL_INV, imm_data=key,
                              send_flags=e.IBV_SEND_SIGNALED))
    right.done(opcode=e.IBV_WC_LOCAL_INV)
    left.mr.write(pattern(4, 4096), 4096, 0)
    left.post(e.IBV_WR_RDMA_WRITE, 0, 4096, prepare=to(right, 4096, key))
    left.done(e.IBV_WC_REM_ACCESS_ERR)
    same("data", right.mr.read(4096, 4096), pattern(3, 4096))
    window.close()
    closes(left, right)


def window_bounds():
    left, right = pair(mr_rights=RIGHTS | e.IBV_ACCESS_MW_BIND)
    window, key = bound_window(right)
    left.post(e.IBV_WR_RDMA_WRITE, 0, 64, prepare=to(right, 8192 - 32, key))
    left.done(e.IBV_WC_REM_ACCESS_ERR)
    window.close()
    closes(left, right)


def open_files():
    return len(os.listdir("/proc/self/fd"))


def many():
    closes(*pair())
    before = open_files()
    for _ in range(30):
        left, right = pair()
        left.post(e.IBV_WR_RDMA_WRITE, 0, 64, prepare=to(right))
        left.done()
        closes(left, right)
    same("open files", open_files(), before)


PROGRAMS = [("device, domain, memory, queues", device)]
PROGRAMS += [(f"{NAMES[k]}: send, with immediate, inline", lambda k=k: send(k)) for k in NAMES]
PROGRAMS += [(f"{NAMES[k]}: write, with immediate, inline", lambda k=k: write(k))
             for k in (e.IBV_QPT_RC, e.IBV_QPT_UC)]
PROGRAMS += [("RC: numbers of packets", packet_numbers),
             ("RC: read, fetch and add, compare and swap", read_and_atomics),
             ("RC: shared receive queue", shared_receive_queue),
             ("RC: errors", errors),
             ("RC: completion events", completion_events),
             ("RC: memory window of type 2, bound and invalidated", memory_window),
             ("RC: memory window's bounds", window_bounds),
             ("RC: 30 pairs made and destroyed", many)]


def main():
    failed = 0
    for name, program in PROGRAMS:
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)  # even inside a blocking call
        try:
            program()
            print(f"ok: {name}", flush=True)
        except (AssertionError, PyverbsRDMAError) as error:
            failed += 1
            print(f"FAILED: {name}: {error}", flush=True)
            traceback.print_exc()
    print(f"programs by pyverbs: {len(PROGRAMS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
