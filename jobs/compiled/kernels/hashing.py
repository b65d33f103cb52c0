"""Kernels of SipHash-2-4: each takes one word of every row, and keeps the state of every row in four arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, types, uint8, uint64, void

from jobs.compiled.kernels.compiler import kernel

Array = np.ndarray[Any, Any]
Word = np.uint64
STATE = uint64[::1]
READ = types.Array(uint64, 1, "C", readonly=True)
BYTES = types.Array(uint8, 1, "C", readonly=True)


@kernel(types.UniTuple(uint64, 4)(uint64, uint64, uint64, uint64))
def turn(a: Word, b: Word, c: Word, d: Word) -> tuple[Word, Word, Word, Word]:
    """One round."""
    a += b
    b = ((b << np.uint64(13)) | (b >> np.uint64(51))) ^ a
    a = (a << np.uint64(32)) | (a >> np.uint64(32))
    c += d
    d = ((d << np.uint64(16)) | (d >> np.uint64(48))) ^ c
    a += d
    d = ((d << np.uint64(21)) | (d >> np.uint64(43))) ^ a
    c += b
    b = ((b << np.uint64(17)) | (b >> np.uint64(47))) ^ c
    c = (c << np.uint64(32)) | (c >> np.uint64(32))
    return a, b, c, d


@kernel(void(STATE, STATE, STATE, STATE, READ))
def take(a: Array, b: Array, c: Array, d: Array, word: Array) -> None:
    """Take in a word of each row."""
    for row in range(word.shape[0]):
        one, two, three, four = turn(a[row], b[row], c[row], d[row] ^ word[row])
        one, two, three, four = turn(one, two, three, four)
        a[row], b[row], c[row], d[row] = one ^ word[row], two, three, four


@kernel(void(STATE, STATE, STATE, STATE, STATE, STATE))
def finish(a: Array, b: Array, c: Array, d: Array, first: Array, second: Array) -> None:
    """Both halves of the hash of each row."""
    for row in range(first.shape[0]):
        one, two, three, four = a[row], b[row], c[row] ^ np.uint64(0xEE), d[row]
        for _ in range(4):
            one, two, three, four = turn(one, two, three, four)
        first[row] = one ^ two ^ three ^ four
        two ^= np.uint64(0xDD)
        for _ in range(4):
            one, two, three, four = turn(one, two, three, four)
        second[row] = one ^ two ^ three ^ four


@kernel(void(STATE, STATE, STATE, STATE, types.Array(int64, 1, "C", readonly=True), BYTES))
def take_texts(a: Array, b: Array, c: Array, d: Array, offsets: Array, content: Array) -> None:
    """Take in the bytes of a text of each row, eight a word and the last word filled up with zeros.

    The bytes of row n lie in `content` from `offsets[n]` to `offsets[n + 1]`.
    """
    for row in range(a.shape[0]):
        one, two, three, four = a[row], b[row], c[row], d[row]
        at, end = offsets[row], offsets[row + 1]
        while at < end:
            word = np.uint64(0)
            if at + 8 <= end:
                for n in range(8):
                    word |= np.uint64(content[at + n]) << np.uint64(8 * n)
            else:
                for n in range(end - at):
                    word |= np.uint64(content[at + n]) << np.uint64(8 * n)
            one, two, three, four = turn(one, two, three, four ^ word)
            one, two, three, four = turn(one, two, three, four)
            one ^= word
            at += 8
        a[row], b[row], c[row], d[row] = one, two, three, four
