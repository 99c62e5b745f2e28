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


# Exercise 2.1
def word_to_bytes(word):
    """A word (str) -> list of tokens (str), one for each byte of its UTF-8; the last one ends in "</w>".

    "hi" -> ["h", "i</w>"]; the two bytes of "é" -> ["Ã", "©</w>"].
    """
    # solution
    tokens = [BYTES[byte] for byte in word.encode()]
    tokens[-1] += "</w>"
    return tokens
    # end


# Exercise 2.2
def count_pairs(spelling, word_counts):
    """How often each pair of neighbours occurs in a text -> {(first, second): number}.

    spelling {word: list of its tokens}, word_counts {word: how often it occurs in the text}.
    """
    # solution
    pair_counts = Counter()
    for word, tokens in spelling.items():
        for pair in zip(tokens, tokens[1:]):
            pair_counts[pair] += word_counts[word]
    return pair_counts
    # end


# Exercise 2.3
def merge(tokens, pair):
    """Join the pair (a tuple) wherever it stands in the list, from left to right -> list of tokens.

    ["a", "b", "a", "b", "c</w>"] and ("a", "b") -> ["ab", "ab", "c</w>"];
    ["a", "a", "a"] and ("a", "a") -> ["aa", "a"].
    """
    # solution
    merged = []
    i = 0
    while i < len(tokens):
        if tokens[i:i + 2] == [*pair]:
            merged.append(tokens[i] + tokens[i + 1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged
    # end


# Exercise 2.4
def train_merges(word_counts, n):
    """{word (str): how often it occurs} -> list of at most n pairs, in the order of learning.

    Each time the pair that is commonest now is merged in all words. Of equally common pairs it is
    the alphabetically first one, by (first, second). It ends early when there is no pair left.
    """
    # solution
    spelling = {word: word_to_bytes(word) for word in word_counts}
    merges = []
    while len(merges) < n:
        pair_counts = count_pairs(spelling, word_counts)
        if not pair_counts:
            break
        best = min(pair_counts, key=lambda pair: (-pair_counts[pair], pair))
        merges.append(best)
        for word, tokens in spelling.items():
            spelling[word] = merge(tokens, best)
    return merges
    # end


# Exercise 2.5
def encode_word(word, merges):
    """A word (str) and the learned pairs, the earliest first -> list of tokens.

    Start from bytes; merge the pair of neighbours that was learned earliest; again, until none of
    the pairs was learned. (Tokenizer.encode_word looks up the tokens' ids then.)
    """
    # solution
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    tokens = word_to_bytes(word)
    while len(tokens) > 1:
        pairs = zip(tokens, tokens[1:])
        best = min(pairs, key=lambda pair: ranks.get(pair, math.inf))
        if best not in ranks:
            break
        tokens = merge(tokens, best)
    return tokens
    # end


# Exercise 2.6
def decode(ids, vocab):
    """Ids and the list of all tokens -> text (str).

    Each "</w>" becomes a space. Bytes that are no UTF-8 become U+FFFD.
    """
    # solution
    unbytes = {character: byte for byte, character in BYTES.items()}
    characters = "".join(vocab[i] for i in ids)
    raw = bytes(unbytes[character] for character in characters)
    return raw.decode("utf-8", "replace").replace("</w>", " ")
    # end


# Exercise 2.7
def predict_tokens():
    """How many tokens does "naïve café, señor" have before any merge is learned (int)?

    Start and end of text count. The comma is a word of its own, and no token stands for a space.
    Think first, then return the number; check it with what you have written above.
    """
    # solution
    return 20  # 6 + 5 + 1 + 6 bytes, and two
    # end
