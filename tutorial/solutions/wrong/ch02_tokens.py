"""Typical wrong answers to chapter 2; each docstring is what the grader must say. They replace what is before __."""


def spell__end_of_its_own(word):
    """belongs to the last symbol"""
    return *(BYTES[byte] for byte in word.encode()), "</w>"


def spell__characters(word):
    """one symbol for each byte, not for each character"""
    return *word[:-1], word[-1] + "</w>"


def spell__no_end(word):
    """must end in "</w>\""""
    return tuple(BYTES[byte] for byte in word.encode())


def spell__latin(word):
    """take the character of a byte from BYTES"""
    *symbols, last = map(chr, word.encode())
    return *symbols, last + "</w>"


def count_pairs__types(words):
    """each word counts as often as it occurs"""
    pairs = {}
    for symbols in words:
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] = pairs.get(pair, 0) + 1
    return pairs


def count_pairs__once_a_word(words):
    """twice in a word counts twice"""
    pairs = {}
    for symbols, count in words.items():
        for pair in set(zip(symbols, symbols[1:])):
            pairs[pair] = pairs.get(pair, 0) + count
    return pairs


def count_pairs__sorted(words):
    """left and right are not interchangeable"""
    pairs = {}
    for symbols, count in words.items():
        for pair in zip(symbols, symbols[1:]):
            pair = tuple(sorted(pair))
            pairs[pair] = pairs.get(pair, 0) + count
    return pairs


def merge__first_only(symbols, pair):
    """not only the first"""
    for i in range(len(symbols) - 1):
        if symbols[i:i + 2] == pair:
            return symbols[:i] + ("".join(pair),) + symbols[i + 2:]
    return symbols


def merge__overlapping(symbols, pair):
    """a symbol was used twice"""
    merged = []
    for i in range(len(symbols)):
        if symbols[i:i + 2] == pair:
            merged.append("".join(pair))
        elif i == 0 or symbols[i - 1:i + 1] != pair:
            merged.append(symbols[i])
    return tuple(merged)


def merge__from_the_right(symbols, pair):
    """from left to right"""
    merged, i = [], len(symbols)
    while i > 0:
        if i > 1 and symbols[i - 2:i] == pair:
            merged.insert(0, "".join(pair))
            i -= 2
        else:
            merged.insert(0, symbols[i - 1])
            i -= 1
    return tuple(merged)


def merge__by_text(symbols, pair):
    """compare whole symbols"""
    merged, i = [], 0
    while i < len(symbols):
        if "".join(symbols[i:i + 2]) == "".join(pair):
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)


def train_merges__counted_once(counts, n):
    """each time count again"""
    pairs = count_pairs({spell(word): count for word, count in counts.items()})
    return sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:n]


def train_merges__types(counts, n):
    """each word counts as often as it occurs"""
    words, merges = {spell(word): 1 for word in counts}, []
    while len(merges) < n and (pairs := count_pairs(words)):
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {merge(symbols, merges[-1]): 1 for symbols in words}
    return merges


def train_merges__least(counts, n):
    """the least frequent pair"""
    words, merges = {spell(word): count for word, count in counts.items()}, []
    while len(merges) < n and (pairs := count_pairs(words)):
        merges.append(min(pairs, key=lambda pair: (pairs[pair], pair)))
        words = {merge(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


def train_merges__first_seen(counts, n):
    """alphabetically first"""
    words, merges = {spell(word): count for word, count in counts.items()}, []
    while len(merges) < n and (pairs := count_pairs(words)):
        merges.append(max(pairs, key=pairs.get))
        words = {merge(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


def encode_word__leftmost(word, merges):
    """not the leftmost"""
    symbols = spell(word)
    while pairs := [pair for pair in zip(symbols, symbols[1:]) if pair in merges]:
        symbols = merge(symbols, pairs[0])
    return symbols


def encode_word__none(word, merges):
    """nothing was merged"""
    return spell(word)


def encode_word__one_pass(word, merges):
    """merged symbols merge further"""
    symbols, first = spell(word), set(zip(spell(word), spell(word)[1:]))
    for pair in merges:
        symbols = merge(symbols, pair) if pair in first else symbols
    return symbols


def encode_word__last_learned(word, merges):
    """learned earliest"""
    symbols = spell(word)
    while pairs := [pair for pair in zip(symbols, symbols[1:]) if pair in merges]:
        symbols = merge(symbols, max(pairs, key=merges.index))
    return symbols


def decode__each_alone(ids, vocab):
    """join all symbols before the bytes are decoded"""
    return "".join(bytes_of(vocab[i]).decode("utf-8", "replace") for i in ids)


def bytes_of(symbol):
    byte = {char: number for number, char in BYTES.items()}
    return bytes(32 if char == " " else byte[char] for char in symbol.replace("</w>", " "))


def decode__not_decoded(ids, vocab):
    """turn them back into bytes"""
    return "".join(vocab[i] for i in ids).replace("</w>", " ")


def decode__stripped(ids, vocab):
    """the last one too"""
    return b"".join(bytes_of(vocab[i]) for i in ids).decode("utf-8", "replace").strip()


def decode__end_kept(ids, vocab):
    """must become a space"""
    byte = {char: number for number, char in BYTES.items()}
    return bytes(byte[char] for i in ids for char in vocab[i]).decode("utf-8", "replace")


def predict_tokens__characters_of_two_bytes():
    """two bytes each"""
    return 17


def predict_tokens__no_start():
    """start and end of text"""
    return 18


def predict_tokens__spaces():
    """no token stands for a space"""
    return 22
