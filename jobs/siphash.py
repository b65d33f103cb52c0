"""SipHash-2-4 with 128 bits of output, over many rows at once.

J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, and the 128-bit variant of their
reference code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.compiled.kernels.hashing import finish, take, take_texts

Words = np.ndarray[Any, np.dtype[np.uint64]]
_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


class SipHash:
    """The state of `rows` hashes under one key of two words. Words go in with `add`, two words come out of `lanes`."""

    def __init__(self, rows: int, key: tuple[int, int]) -> None:
        keyed = [start ^ key[n % 2] for n, start in enumerate(_START)]
        keyed[1] ^= 0xEE
        a, b, c, d = (np.full(rows, word, np.uint64) for word in keyed)
        self._v = (a, b, c, d)

    def add(self, word: Words) -> None:
        """Take in one word of each row."""
        take(*self._v, word)

    def add_texts(
        self, offsets: np.ndarray[Any, np.dtype[np.int64]], content: np.ndarray[Any, np.dtype[np.uint8]]
    ) -> None:
        """Take in the bytes of a text of each row, those of row n from `offsets[n]` to `offsets[n + 1]` of `content`.

        Eight are a word, and the last word is filled up with zeros.
        """
        take_texts(*self._v, offsets, content)

    def lanes(self) -> tuple[Words, Words]:
        """Both halves of the hash of each row; nothing can be added any more."""
        rows = len(self._v[0])
        first, second = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
        finish(*self._v, first, second)
        return first, second
