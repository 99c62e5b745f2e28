"""Typical wrong answers to chapter 2; each docstring is what the grader must say.

Each replaces the function whose name stands before __. Functions without __ help the others.
"""


def word_to_bytes__end_of_its_own(word):
    """belongs to the last token"""
    return [*[BYTES[byte] for byte in word.encode()], "</w>"]


def word_to_bytes__characters(word):
    """one token for each byte, not for each character"""
    return [*word[:-1], word[-1] + "</w>"]


def word_to_bytes__no_end(word):
    """must end in "</w>\""""
    return [BYTES[byte] for byte in word.encode()]


def word_to_bytes__latin(word):
    """take the character of a byte from BYTES"""
    tokens = [chr(byte) for byte in word.encode()]
    tokens[-1] += "</w>"
    return tokens


def word_to_bytes__tuple(word):
    """not a tuple"""
    *tokens, last = [BYTES[byte] for byte in word.encode()]
    return *tokens, last + "</w>"


def count_pairs__types(spelling, word_counts):
    """each word counts as often as it occurs"""
    pair_counts = Counter()
    for tokens in spelling.values():
        pair_counts.update(zip(tokens, tokens[1:]))
    return pair_counts


def count_pairs__once_a_word(spelling, word_counts):
    """twice in a word counts twice"""
    pair_counts = Counter()
    for word, tokens in spelling.items():
        for pair in set(zip(tokens, tokens[1:])):
            pair_counts[pair] += word_counts[word]
    return pair_counts


def count_pairs__sorted(spelling, word_counts):
    """first and second are not interchangeable"""
    pair_counts = Counter()
    for word, tokens in spelling.items():
        for pair in zip(tokens, tokens[1:]):
            pair_counts[tuple(sorted(pair))] += word_counts[word]
    return pair_counts


def count_pairs__across_words(spelling, word_counts):
    """across the end of one word"""
    pair_counts = count_rightly(spelling, word_counts)
    words = list(spelling)
    for word, next_word in zip(words, words[1:]):
        pair = (spelling[word][-1], spelling[next_word][0])
        pair_counts[pair] += word_counts[word]
    return pair_counts


def count_rightly(spelling, word_counts):
    pair_counts = Counter()
    for word, tokens in spelling.items():
        for pair in zip(tokens, tokens[1:]):
            pair_counts[pair] += word_counts[word]
    return pair_counts


def merge__first_only(tokens, pair):
    """not only the first"""
    for i in range(len(tokens) - 1):
        if tokens[i:i + 2] == [*pair]:
            return [*tokens[:i], "".join(pair), *tokens[i + 2:]]
    return tokens


def merge__a_tuple_is_no_list(tokens, pair):
    """a list is never equal to a tuple"""
    merged = []
    i = 0
    while i < len(tokens):
        if tokens[i:i + 2] == pair:
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def merge__tuple(tokens, pair):
    """not a tuple"""
    joined = []
    while tokens:
        if tokens[:2] == [*pair]:
            joined.append("".join(pair))
            tokens = tokens[2:]
        else:
            joined.append(tokens[0])
            tokens = tokens[1:]
    return tuple(joined)


def merge__overlapping(tokens, pair):
    """a token was used twice"""
    merged = []
    for i in range(len(tokens)):
        if tokens[i:i + 2] == [*pair]:
            merged.append("".join(pair))
        elif i == 0 or tokens[i - 1:i + 1] != [*pair]:
            merged.append(tokens[i])
    return merged


def merge__from_the_right(tokens, pair):
    """from left to right"""
    merged = []
    i = len(tokens)
    while i > 0:
        if i > 1 and tokens[i - 2:i] == [*pair]:
            merged.insert(0, "".join(pair))
            i -= 2
        else:
            merged.insert(0, tokens[i - 1])
            i -= 1
    return merged


def merge__by_text(tokens, pair):
    """compare whole tokens"""
    merged = []
    i = 0
    while i < len(tokens):
        if "".join(tokens[i:i + 2]) == "".join(pair):
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def train_merges__counted_once(word_counts, n):
    """each time count again"""
    spelling = {word: word_to_bytes(word) for word in word_counts}
    pair_counts = count_pairs(spelling, word_counts)
    return sorted(pair_counts, key=lambda pair: (-pair_counts[pair], pair))[:n]


def learned(word_counts, n, choose):
    """Training with another choice of the best pair, choose(pair_counts)."""
    spelling = {word: word_to_bytes(word) for word in word_counts}
    merges = []
    while len(merges) < n and count_pairs(spelling, word_counts):
        best = choose(count_pairs(spelling, word_counts))
        merges.append(best)
        for word, tokens in spelling.items():
            spelling[word] = merge(tokens, best)
    return merges


def train_merges__types(word_counts, n):
    """each word counts as often as it occurs"""
    def commonest(pair_counts):
        return min(pair_counts, key=lambda pair: (-pair_counts[pair], pair))

    once = {word: 1 for word in word_counts}
    return learned(once, n, commonest)


def train_merges__least(word_counts, n):
    """the rarest pair"""
    def rarest(pair_counts):
        return min(pair_counts, key=lambda pair: (pair_counts[pair], pair))

    return learned(word_counts, n, rarest)


def train_merges__first_seen(word_counts, n):
    """alphabetically first"""
    def first_of_the_commonest(pair_counts):
        return max(pair_counts, key=pair_counts.get)

    return learned(word_counts, n, first_of_the_commonest)


def encoded(word, merges, choose):
    """Encoding with another choice among the learned pairs, choose(pairs)."""
    tokens = word_to_bytes(word)
    while True:
        pairs = [pair for pair in zip(tokens, tokens[1:]) if pair in merges]
        if not pairs:
            return tokens
        tokens = merge(tokens, choose(pairs))


def encode_word__leftmost(word, merges):
    """not the leftmost"""
    return encoded(word, merges, lambda pairs: pairs[0])


def encode_word__none(word, merges):
    """nothing was merged"""
    return word_to_bytes(word)


def encode_word__one_pass(word, merges):
    """merged tokens merge further"""
    tokens = word_to_bytes(word)
    first_pairs = set(zip(tokens, tokens[1:]))
    for pair in merges:
        if pair in first_pairs:
            tokens = merge(tokens, pair)
    return tokens


def encode_word__last_learned(word, merges):
    """learned earliest"""
    return encoded(word, merges, lambda pairs: max(pairs, key=merges.index))


def bytes_of(token):
    unbytes = {character: byte for byte, character in BYTES.items()}
    return bytes(unbytes[character] for character in token)


def decode__each_alone(ids, vocab):
    """join all tokens before the bytes are decoded"""
    parts = [bytes_of(vocab[i]).decode("utf-8", "replace") for i in ids]
    return "".join(parts).replace("</w>", " ")


def decode__not_decoded(ids, vocab):
    """turn them back into bytes"""
    return "".join(vocab[i] for i in ids).replace("</w>", " ")


def decode__stripped(ids, vocab):
    """the last one too"""
    raw = b"".join(bytes_of(vocab[i]) for i in ids)
    return raw.decode("utf-8", "replace").replace("</w>", " ").strip()


def decode__end_kept(ids, vocab):
    """must become a space"""
    raw = b"".join(bytes_of(vocab[i]) for i in ids)
    return raw.decode("utf-8", "replace")


def predict_tokens__characters_of_two_bytes():
    """two bytes each"""
    return 17


def predict_tokens__no_start():
    """start and end of text"""
    return 18


def predict_tokens__spaces():
    """no token stands for a space"""
    return 22
