"""Chapter 2, tokens: the byte pair encoding of Section 2.4 (Sennrich et al. 2016). Plain Python.

A token is a string: one printable character for each byte; the last token of a word ends in "</w>".
"""
import math
from collections import Counter

# Given: a byte is written as one printable character. The 188 printable bytes stand for themselves,
# the others are moved up to U+0100 and beyond.
BYTES = {byte: chr(byte) for byte in [*range(33, 127), *range(161, 173), *range(174, 256)]}
for _byte in range(256):
    if _byte not in BYTES:
        BYTES[_byte] = chr(256 + len(BYTES) - 188)


# Exercise 2.1: write, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 2.1 --hint 1, then 2, 3
def word_to_bytes(word):
    """A word (str) -> list of tokens (str), one for each byte of its UTF-8; the last one ends in "</w>".

    "hi" -> ["h", "i</w>"]; the two bytes of "é" -> ["Ã", "©</w>"].
    """
    raise NotImplementedError("Exercise 2.1")


# Exercise 2.2: write, difficulty 1 of 5, about 10 minutes
# hints: python tutorial/grade.py 2.2 --hint 1, then 2, 3
def count_pairs(spelling, word_counts):
    """How often each pair of neighbours occurs in a text -> {(first, second): number}.

    spelling {word: list of its tokens}, word_counts {word: how often it occurs in the text}.
    """
    raise NotImplementedError("Exercise 2.2")


# Exercise 2.3: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 2.3 --hint 1, then 2, 3
def merge(tokens, pair):
    """Join the pair (a tuple) wherever it stands in the list, from left to right -> list of tokens.

    ["a", "b", "a", "b", "c</w>"] and ("a", "b") -> ["ab", "ab", "c</w>"];
    ["a", "a", "a"] and ("a", "a") -> ["aa", "a"].
    """
    raise NotImplementedError("Exercise 2.3")


# Exercise 2.4: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 2.4 --hint 1, then 2, 3
def train_merges(word_counts, n):
    """{word (str): how often it occurs} -> list of at most n pairs, in the order of learning.

    Each time the pair that is commonest now is merged in all words. Of equally common pairs it is
    the alphabetically first one, by (first, second). It ends early when there is no pair left.
    """
    raise NotImplementedError("Exercise 2.4")


# Exercise 2.5: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 2.5 --hint 1, then 2, 3
def encode_word(word, merges):
    """A word (str) and the learned pairs, the earliest first -> list of tokens.

    Start from bytes; merge the pair of neighbours that was learned earliest; again, until none of
    the pairs was learned. (Tokenizer.encode_word looks up the tokens' ids then.)
    """
    raise NotImplementedError("Exercise 2.5")


# Exercise 2.6: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 2.6 --hint 1, then 2, 3
def decode(ids, vocab):
    """Ids and the list of all tokens -> text (str).

    Each "</w>" becomes a space. Bytes that are no UTF-8 become U+FFFD.
    """
    raise NotImplementedError("Exercise 2.6")


# Exercise 2.7: predict, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 2.7 --hint 1, then 2, 3
def predict_tokens():
    """How many tokens does "naïve café, señor" have before any merge is learned (int)?

    Start and end of text count. The comma is a word of its own, and no token stands for a space.
    Think first, then return the number; check it with what you have written above.
    """
    raise NotImplementedError("Exercise 2.7")
