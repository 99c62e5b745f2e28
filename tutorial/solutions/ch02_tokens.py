"""Chapter 2, tokens: the byte pair encoding of Section 2.4 (Sennrich et al. 2016). Plain Python.

Words are tuples of symbols. A symbol is a string: one printable character for each byte, and "</w>" behind the last.
"""

# Given: every byte has a printable character. Printable ones stand for themselves, the other 68 begin at U+0100.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = {byte: chr(byte) for byte in _PRINTABLE}
BYTES |= {byte: chr(256 + i) for i, byte in enumerate(sorted(set(range(256)) - set(_PRINTABLE)))}


# Exercise 2.1
def spell(word):
    """A word (str) -> tuple of symbols (str), one for each byte of its UTF-8; the last one ends in "</w>".

    "hi" -> ("h", "i</w>"); the two bytes of "é" -> ("Ã", "©</w>")."""
    # solution
    *symbols, last = (BYTES[byte] for byte in word.encode())
    return *symbols, last + "</w>"
    # end


# Exercise 2.2
def count_pairs(words):
    """{tuple of symbols: how often the word occurs} -> {(left, right): how often these two are neighbours}."""
    # solution
    pairs = {}
    for symbols, count in words.items():
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] = pairs.get(pair, 0) + count
    return pairs
    # end


# Exercise 2.3
def merge(symbols, pair):
    """Tuple of symbols -> tuple in which each occurrence of the pair, from left to right, is one symbol.

    ("a", "b", "a", "b", "c</w>") and ("a", "b") -> ("ab", "ab", "c</w>");
    ("a", "a", "a") and ("a", "a") -> ("aa", "a")."""
    # solution
    merged, i = [], 0
    while i < len(symbols):
        if symbols[i:i + 2] == pair:
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)
    # end


# Exercise 2.4
def train_merges(counts, n):
    """{word (str): how often it occurs} -> list of at most n pairs, in the order in which they are learned.

    Each time the pair that is most frequent now is merged in all words; of equally frequent ones the first in
    alphabetical order of (left, right). It ends early when there is no pair left."""
    # solution
    words, merges = {spell(word): count for word, count in counts.items()}, []
    while len(merges) < n and (pairs := count_pairs(words)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {merge(symbols, best): count for symbols, count in words.items()}
    return merges
    # end


# Exercise 2.5
def encode_word(word, merges):
    """A word (str) and the learned pairs, first to last -> tuple of symbols.

    Of all pairs of neighbours the one that was learned earliest is merged, and so on until none was learned."""
    # solution
    symbols, rank = spell(word), {pair: i for i, pair in enumerate(merges)}
    while pairs := [pair for pair in zip(symbols, symbols[1:]) if pair in rank]:
        symbols = merge(symbols, min(pairs, key=rank.get))
    return symbols
    # end


# Exercise 2.6
def decode(ids, vocab):
    """Ids and the list of all symbols -> text (str): each "</w>" is a space, what is no UTF-8 becomes U+FFFD."""
    # solution
    byte = {char: number for number, char in BYTES.items()}
    text = "".join(vocab[i] for i in ids).replace("</w>", " ")
    return bytes(32 if char == " " else byte[char] for char in text).decode("utf-8", "replace")
    # end


# Exercise 2.7
def predict_tokens():
    """How many tokens does "naïve café, señor" have before any merge is learned, with start and end of text?

    The comma is a word of its own, and no symbol stands for a space. Think first, then return the number (int); check
    it with what you have written above."""
    # solution
    return 20  # 6 + 5 + 1 + 6 bytes, and two
    # end
