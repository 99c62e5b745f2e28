"""Chapter 2, tokens: the byte pair encoding of Section 2.4 (Sennrich et al. 2016). Plain Python.

Words are tuples of symbols. A symbol is a string: one printable character for each byte, and "</w>" behind the last.
"""

# Given: every byte has a printable character. Printable ones stand for themselves, the other 68 begin at U+0100.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = {byte: chr(byte) for byte in _PRINTABLE}
BYTES |= {byte: chr(256 + i) for i, byte in enumerate(sorted(set(range(256)) - set(_PRINTABLE)))}


# Exercise 2.1: write, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 2.1 --hint 1, then 2, 3
def spell(word):
    """A word (str) -> tuple of symbols (str), one for each byte of its UTF-8; the last one ends in "</w>".

    "hi" -> ("h", "i</w>"); the two bytes of "é" -> ("Ã", "©</w>")."""
    raise NotImplementedError("Exercise 2.1")


# Exercise 2.2: write, difficulty 1 of 5, about 10 minutes; hints: python tutorial/grade.py 2.2 --hint 1, then 2, 3
def count_pairs(words):
    """{tuple of symbols: how often the word occurs} -> {(left, right): how often these two are neighbours}."""
    raise NotImplementedError("Exercise 2.2")


# Exercise 2.3: write, difficulty 2 of 5, about 10 minutes; hints: python tutorial/grade.py 2.3 --hint 1, then 2, 3
def merge(symbols, pair):
    """Tuple of symbols -> tuple in which each occurrence of the pair, from left to right, is one symbol.

    ("a", "b", "a", "b", "c</w>") and ("a", "b") -> ("ab", "ab", "c</w>");
    ("a", "a", "a") and ("a", "a") -> ("aa", "a")."""
    raise NotImplementedError("Exercise 2.3")


# Exercise 2.4: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 2.4 --hint 1, then 2, 3
def train_merges(counts, n):
    """{word (str): how often it occurs} -> list of at most n pairs, in the order in which they are learned.

    Each time the pair that is most frequent now is merged in all words; of equally frequent ones the first in
    alphabetical order of (left, right). It ends early when there is no pair left."""
    raise NotImplementedError("Exercise 2.4")


# Exercise 2.5: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 2.5 --hint 1, then 2, 3
def encode_word(word, merges):
    """A word (str) and the learned pairs, first to last -> tuple of symbols.

    Of all pairs of neighbours the one that was learned earliest is merged, and so on until none was learned."""
    raise NotImplementedError("Exercise 2.5")


# Exercise 2.6: write, difficulty 2 of 5, about 10 minutes; hints: python tutorial/grade.py 2.6 --hint 1, then 2, 3
def decode(ids, vocab):
    """Ids and the list of all symbols -> text (str): each "</w>" is a space, what is no UTF-8 becomes U+FFFD."""
    raise NotImplementedError("Exercise 2.6")


# Exercise 2.7: predict, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 2.7 --hint 1, then 2, 3
def predict_tokens():
    """How many tokens does "naïve café, señor" have before any merge is learned, with start and end of text?

    The comma is a word of its own, and no symbol stands for a space. Think first, then return the number (int); check
    it with what you have written above."""
    raise NotImplementedError("Exercise 2.7")
