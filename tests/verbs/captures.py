#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""captures.py [--requests] <file> [<other file>]: checks the RoCE v2 packets of a capture; with another one, that both
show the same opcodes in the same order. --requests: but for acknowledgements, which a NIC may ask for in between.

Each invariant checksum is computed again, here by zlib over whole packets. tshark must find no malformed header.
Exit status 77: there is no tshark.
"""

import shutil
import struct
import subprocess
import sys
import zlib

from scapy.all import Ether, rdpcap

ROCE_PORT = 4791
ACKNOWLEDGE = 0x11
WRITE_ONLY = 0x0A
ETHERNET, IP, UDP, BTH, ICRC = 14, 20, 8, 12, 4


def icrc_is_right(frame):
    packet = bytearray(frame[ETHERNET:-ICRC])
    for at in (1, 8, 10, 11, IP + 6, IP + 7, IP + UDP + 4):
        packet[at] = 0xFF
    crc = zlib.crc32(b"\xff" * 8 + bytes(packet))
    return frame[-ICRC:] == struct.pack("<I", crc)


def length_is_right(frame):
    """Of a WRITE in one packet: the data that its RETH announces is there, and the pad is what is left."""
    if frame[ETHERNET + IP + UDP] != WRITE_ONLY:
        return True
    bth = ETHERNET + IP + UDP
    pad = frame[bth + 1] >> 4 & 3
    announced = struct.unpack(">I", frame[bth + BTH + 12 : bth + BTH + 16])[0]
    return announced == len(frame) - bth - BTH - 16 - pad - ICRC


def roce_frames(path):
    for packet in rdpcap(path):
        frame = bytes(packet)
        is_roce = len(frame) > ETHERNET + IP + UDP + BTH and frame[12:14] == b"\x08\x00" and frame[23] == 17
        if is_roce and struct.unpack(">H", frame[36:38])[0] == ROCE_PORT:
            length = struct.unpack(">H", frame[16:18])[0]
            yield frame[: ETHERNET + length]  # Ethernet pads short ones


def dissect(path):
    """Of each packet: its layers, whether tshark has found a base transport header, whether anything malformed."""
    fields = ["frame.protocols", "infiniband.bth", "_ws.malformed"]
    command = ["tshark", "-r", path, "-T", "fields"] + [word for field in fields for word in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        layers, header, malformed = line.split("\t")
        yield layers, bool(header), bool(malformed)


def check(path):
    frames = list(roce_frames(path))
    wrong = sum(not icrc_is_right(frame) for frame in frames)
    misfits = sum(not length_is_right(frame) for frame in frames)
    # tshark guesses at payload by its first bytes; what it takes that for does not count.
    packets = list(dissect(path))
    malformed = sum(bad and layers.split(":infiniband", 1)[-1] in ("", ":data") for layers, _, bad in packets)
    dissected = sum(header for _, header, _ in packets)
    print(f"{path}: {len(frames)} packets, {wrong} wrong checksums, {misfits} wrong lengths, {dissected} dissected, {malformed} malformed")
    if not frames or wrong or misfits or malformed or dissected != len(frames):
        sys.exit(f"FAILED: {path}")
    return [frame[ETHERNET + IP + UDP] for frame in frames]


def main(paths):
    if shutil.which("tshark") is None:
        print("SKIPPED: tshark is not installed")
        sys.exit(77)
    requests = paths[0] == "--requests"
    opcodes = [check(path) for path in paths[requests:]]
    if requests:
        opcodes = [[o for o in list_ if o != ACKNOWLEDGE] for list_ in opcodes]
    if len(opcodes) == 2 and opcodes[0] != opcodes[1]:
        pairs = list(zip(*opcodes))
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        sys.exit(f"FAILED: other opcodes from packet {first} on: {opcodes[0][first:first + 8]}, {opcodes[1][first:first + 8]}")
    print("ok: " + ("the same opcodes in the same order" if len(opcodes) == 2 else "every packet"))


main(sys.argv[1:])
