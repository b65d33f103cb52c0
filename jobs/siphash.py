"""SipHash-2-4 with 128 bits of output, over many rows at once.

J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, and the 128-bit variant of their
reference code. Each operation works on one 64-bit word of every row; there is no loop over rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.uint64]]
_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


class SipHash:
    """The state of `rows` hashes under one key of two words. Words go in with `add`, two words come out of `lanes`."""

    def __init__(self, rows: int, key: tuple[int, int]) -> None:
        keyed = [start ^ key[n % 2] for n, start in enumerate(_START)]
        keyed[1] ^= 0xEE
        self._v = [np.full(rows, word, np.uint64) for word in keyed]
        self._spare = np.empty(rows, np.uint64)

    def add(self, word: Words, where: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> None:
        """Take in one word of each row, or of the rows `where` it is true: the other rows have no such word."""
        if where is None:
            self._take(self._v, self._spare, word)
            return
        some = [v[where] for v in self._v]
        self._take(some, np.empty(len(some[0]), np.uint64), word[where])
        for whole, part in zip(self._v, some, strict=True):
            whole[where] = part

    def lanes(self) -> tuple[Words, Words]:
        """Both halves of the hash of each row; nothing can be added any more."""
        v = self._v
        v[2] ^= np.uint64(0xEE)
        _rounds(v, self._spare, 4)
        first = v[0] ^ v[1] ^ v[2] ^ v[3]
        v[1] ^= np.uint64(0xDD)
        _rounds(v, self._spare, 4)
        return first, v[0] ^ v[1] ^ v[2] ^ v[3]

    @staticmethod
    def _take(v: list[Words], spare: Words, word: Words) -> None:
        v[3] ^= word
        _rounds(v, spare, 2)
        v[0] ^= word


def _rounds(v: list[Words], spare: Words, count: int) -> None:
    a, b, c, d = v
    for _ in range(count):
        a += b
        _turn(b, 13, spare)
        b ^= a
        _turn(a, 32, spare)
        c += d
        _turn(d, 16, spare)
        d ^= c
        a += d
        _turn(d, 21, spare)
        d ^= a
        c += b
        _turn(b, 17, spare)
        b ^= c
        _turn(c, 32, spare)


def _turn(word: Words, bits: int, spare: Words) -> None:
    np.right_shift(word, np.uint64(64 - bits), out=spare)
    np.left_shift(word, np.uint64(bits), out=word)
    word |= spare
