"""Raw text of any language as a set of hashed n-grams.

Words and pairs of words carry meaning, n-grams of characters carry endings, compounds and misspelt
words (Bojanowski, Grave, Joulin, Mikolov 2017, https://arxiv.org/abs/1607.04606, section 3.2).
Hashing needs no vocabulary, so that a new product's words have their place before any training
(Weinberger et al. 2009, https://arxiv.org/abs/0902.2206). In scripts written without blanks
(Chinese, Japanese, Thai …) each character is a word, so that pairs of words are pairs of characters.
"""

import re
import unicodedata
import zlib

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


class _Letters(dict[int, int]):
    """For `str.translate`: letters, marks and digits stay, all else becomes a blank."""

    def __missing__(self, code: int) -> int:
        self[code] = code if unicodedata.category(chr(code))[0] in "LMN" else 32
        return self[code]


_LETTERS = _Letters()


def words(text: str) -> list[str]:
    """Words without case, punctuation and differences of typing (NFKC).

    >>> words("Don't PANIC!"), words("红色连衣裙 XL")
    (['don', 't', 'panic'], ['红', '色', '连', '衣', '裙', 'xl'])
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS))


def grams(text: str, longest: int = 2, characters: tuple[int, int] = (3, 4)) -> list[str]:
    """Sequences of up to `longest` words, then the n-grams of characters of each word, with its ends.

    Each once, in order; `characters` is the shortest and the longest n, (0, 0) for none. Words of
    one character have none.

    >>> grams("red tea", 2, (4, 4))
    ['red', 'tea', 'red tea', '-<red', '-red>', '-<tea', '-tea>']
    """
    found = words(text)
    lines = [" ".join(found[i : i + n]) for n in range(1, longest + 1) for i in range(len(found) - n + 1)]
    ends = [f"<{word}>" for word in found if len(word) > 1]
    sizes = range(max(characters[0], 1), characters[1] + 1)
    pieces = ["-" + word[i : i + n] for word in ends for n in sizes for i in range(len(word) - n + 1)]
    return list(dict.fromkeys(lines + pieces))


def hashed(text: str, buckets: int, longest: int = 2, characters: tuple[int, int] = (3, 4)) -> list[int]:
    """The text's n-grams as numbers 1 … buckets - 1, the same on every machine (CRC-32).

    >>> hashed("tea", 1000, 1, (0, 0))
    [310]
    """
    codes = (zlib.crc32(gram.encode()) for gram in grams(text, longest, characters))
    return list(dict.fromkeys(1 + code % (buckets - 1) for code in codes))
