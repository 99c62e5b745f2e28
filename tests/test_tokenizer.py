"""The tokenizer: its words, how merges are learned, and the ids that OpenAI's tokenizer gives for the same merges."""
import html
import json
import os
import random
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import torch

from clip_minimal import BYTES, Tokenizer, clean, merge, word_to_bytes

GOLDEN = json.loads((Path(__file__).parent / "goldens" / "tokenizer.json").read_text(encoding="utf-8"))
SPECIALS = ["<|startoftext|>", "<|endoftext|>"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]
NOT_UNICODE_SPACE = "\x1c\x1d\x1e\x1f"  # white space to str.isspace, not to Unicode
IN_NO_WORD = "\u0345"  # a Greek mark; OpenAI's pattern ignores case, and its upper case is a letter


# ---- Slow and obvious versions to compare with -----------------------------------------------------------------------


def kind(char):
    if char.isspace() and char not in NOT_UNICODE_SPACE or char == IN_NO_WORD:
        return "space"
    if char.isalpha():
        return "letter"
    return "number" if unicodedata.category(char)[0] == "N" else "other"


def slow_words(text):
    text, words = html.unescape(html.unescape(text)).strip().lower(), []
    while text:
        whole = [w for w in SPECIALS + CONTRACTIONS if text[:len(w)].replace("ſ", "s") == w]
        n = len(whole[0]) if whole else 1
        if not whole and kind(text[0]) in ("letter", "other"):
            while n < len(text) and kind(text[n]) == kind(text[0]):
                n += 1
        if kind(text[0]) != "space":
            words.append(text[:n])
        text = text[n:]
    return words


def slow_merge(parts, pair):
    for i in range(len(parts) - 1):
        if (parts[i], parts[i + 1]) == pair:
            return parts[:i] + [parts[i] + parts[i + 1]] + slow_merge(parts[i + 2:], pair)
    return parts


def slow_train(texts, n):
    """n merges for texts of ASCII letters: every pair is counted anew for each of them."""
    corpus, merges = [[*word[:-1], word[-1] + "</w>"] for text in texts for word in slow_words(text)], []
    while len(merges) < n:
        counts = Counter(pair for parts in corpus for pair in zip(parts, parts[1:]))
        if not counts:
            break
        most = max(counts.values())
        merges.append(min(pair for pair in counts if counts[pair] == most))
        corpus = [slow_merge(parts, merges[-1]) for parts in corpus]
    return merges


def slow_encode(tokenizer, text):
    """Ids from the vocabulary and the list of merges: join the earliest merge that is there, start over."""
    ids = []
    for word in slow_words(text):
        parts = [word]
        if word not in SPECIALS:
            parts = [tokenizer.vocab[byte_id] for byte_id in map(BYTE_IDS.index, word.encode("utf-8", "replace"))]
            parts[-1] += "</w>"
        while found := [m for m in tokenizer.merges if m in set(zip(parts, parts[1:]))]:
            parts = slow_merge(parts, found[0])
        ids += [tokenizer.vocab.index(part) for part in parts]
    return ids


# The byte that id 0, 1, ... stands for: printable Latin-1 first, then all others.
BYTE_IDS = [b for b in range(256) if chr(b).isprintable() and b != 0x20]
BYTE_IDS += [b for b in range(256) if b not in BYTE_IDS]


def words(text):
    """The words that a tokenizer without merges sees; decoding puts a space behind each."""
    return Tokenizer([]).decode(Tokenizer([]).encode(text)).split(" ")[:-1]


def squeezed(text):
    return "".join(text.replace(IN_NO_WORD, " ").split())


# ---- Words -----------------------------------------------------------------------------------------------------------


def test_every_code_point_is_the_letter_number_or_other_that_unicode_says():
    chars = sorted(set("".join(map(chr, range(0x110000))).lower()))
    groups = {name: [c for c in chars if kind(c) == name] for name in ("letter", "number", "other", "space")}
    assert words("".join(groups["letter"])) == ["".join(groups["letter"])]
    assert words("".join(groups["number"])) == groups["number"]
    other = "".join(groups["other"])
    assert words(other) == [other.encode("utf-8", "replace").decode()]
    assert words("a" + "a".join(groups["space"]) + "a") == ["a"] * (len(groups["space"]) + 1)


@pytest.mark.parametrize("text, expected", [
    ("It's they'll we're I'd", ["it", "'s", "they", "'ll", "we", "'re", "i", "'d"]),
    ("can't I'm you've", ["can", "'t", "i", "'m", "you", "'ve"]),
    ("route 66", ["route", "6", "6"]),
    ("2½ m²", ["2", "½", "m", "²"]),
    ("snake_case!?", ["snake", "_", "case", "!?"]),
    ("naïve 日本語 Привет", ["naïve", "日本語", "привет"]),
    ("a\x1cb", ["a", "\x1c", "b"]),
    ("cat'ſ 'ſe ſ's", ["cat", "'ſ", "'ſ", "e", "ſ", "'s"]),  # U+017F, the long s, which lower-casing leaves
    ("<|ſtartoftext|>a", ["<|ſtartoftext|>", "a"]),  # one word, spelled in bytes
    ("'\u212a \u212aelvin", ["'", "k", "kelvin"]),  # the sign of the kelvin is a k once it is in lower case
    ("a\u0345b !\u0345!", ["a", "b", "!", "!"]),
    ("", []),
])
def test_words_by_hand(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("  A B \t\n", "a b"),
    ("\u00a0x\u3000", "x"),
    ("Tom &amp; Jerry", "tom & jerry"),
    ("&amp;lt;B&amp;gt;", "<b>"),  # escaped twice
    ("&amp;amp;lt;", "&lt;"),  # but not a third time
    ("&nbsp;x&nbsp;", "x"),
    ("ÀÉ", "àé"),
])
def test_clean_by_hand(text, expected):
    assert clean(text) == expected


# ---- Training --------------------------------------------------------------------------------------------------------


def test_textbook_example_by_hand():
    """The words of Sennrich et al. 2016. Nine times "est", then ties of 7, 6, 5, 3 and 2: alphabetically first wins."""
    tokenizer = Tokenizer.train(["low " * 5, "lower " * 2, "newest " * 6, "widest " * 3], 1000)
    assert tokenizer.merges == [
        ("e", "s"), ("es", "t</w>"),  # 9; ("s", "t</w>") ties with the first
        ("l", "o"),  # 7
        ("e", "w"), ("ew", "est</w>"), ("n", "ewest</w>"),  # 6
        ("lo", "w</w>"),  # 5
        ("d", "est</w>"), ("i", "dest</w>"), ("w", "idest</w>"),  # 3
        ("e", "r</w>"), ("lo", "w"), ("low", "er</w>"),  # 2, and then every word is one token
    ]


@pytest.mark.parametrize("tokens, pair, expected", [
    ("a b c a b", "a b", "ab c ab"),
    ("a a a a b", "a a", "aa aa b"),
    ("a a a", "a a", "aa a"),
    ("b a", "a b", "b a"),
    ("a", "a a", "a"),
    ("a b a b", "ab ab", "a b a b"),
])
def test_merge_by_hand(tokens, pair, expected):
    """From left to right, and what was joined is not joined again; the list that was given stays as it is."""
    tokens = tokens.split()
    before = list(tokens)
    assert merge(tokens, tuple(pair.split())) == expected.split() == slow_merge(tokens, tuple(pair.split()))
    assert tokens == before


def test_words_begin_as_their_bytes():
    """A token for each byte, the last one ends the word; bytes have different characters, printable ones their own."""
    assert word_to_bytes("hi") == ["h", "i</w>"]
    assert word_to_bytes("é") == ["Ã", "©</w>"]
    assert word_to_bytes(" ") == ["Ġ</w>"], "of the others space is the 33rd: U+0120"
    assert sorted(BYTES) == list(range(256)) and len(set(BYTES.values())) == 256
    assert [byte for byte, character in BYTES.items() if character == chr(byte)] == sorted(BYTE_IDS[:188])


def test_overlapping_pairs_are_joined_from_the_left():
    assert Tokenizer.train(["aaaa"], 1000).merges == [("a", "a"), ("a", "a</w>"), ("aa", "aa</w>")]
    tokenizer = Tokenizer([("a", "a")])
    assert [tokenizer.vocab[i] for i in tokenizer.encode("aaaab")] == ["aa", "aa", "b</w>"]


@pytest.mark.parametrize("seed", range(12))
def test_training_equals_a_slow_trainer(seed):
    rng = random.Random(seed)
    texts = [" ".join("".join(rng.choices("abc", k=rng.randint(1, 9))) for _ in range(6)) for _ in range(8)]
    n = rng.choice([5, 20, 1000])
    assert Tokenizer.train(texts, 514 + n).merges == slow_train(texts, n)


def test_order_of_the_captions_does_not_matter():
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcd é", k=20)) for _ in range(40)]
    merges = Tokenizer.train(texts, 600).merges
    for _ in range(5):
        rng.shuffle(texts)
        assert Tokenizer.train(texts, 600).merges == merges


def test_vocabulary_is_bytes_ending_bytes_merges_and_specials():
    tokenizer = Tokenizer.train(["the cat sat on the mat"], 520)
    assert len(tokenizer.vocab) == 520 and len(tokenizer.merges) == 6
    assert len(set(tokenizer.vocab[:256])) == 256
    assert tokenizer.vocab[256:512] == [char + "</w>" for char in tokenizer.vocab[:256]]
    assert tokenizer.vocab[512:518] == [a + b for a, b in tokenizer.merges]
    assert (tokenizer.sot, tokenizer.eot) == (518, 519) and tokenizer.vocab[518:] == SPECIALS
    with pytest.raises(ValueError, match="513"):
        Tokenizer.train(["the cat"], 513)


# ---- Encoding and decoding -------------------------------------------------------------------------------------------


def test_ids_by_hand():
    """Printable bytes come first ("!" is 0, "a" 64, "Ã" 127, "©" 102), then the others (space is the 33rd)."""
    assert Tokenizer([]).encode("! ab é") == [256 + 0, 64, 256 + 65, 127, 256 + 102]
    assert Tokenizer([]).encode("\x00") == [256 + 188]
    assert Tokenizer([("a", "b"), ("b", "c</w>")]).encode("abc") == [512, 256 + 66]  # the earlier merge goes first
    assert Tokenizer([("b", "c</w>"), ("a", "b")]).encode("abc") == [64, 512]
    assert Tokenizer([("x", "y"), ("a", "b</w>")]).encode("a<|endoftext|>ab") == [256 + 64, 515, 513]


@pytest.mark.parametrize("seed", range(8))
def test_encode_equals_a_slow_encoder(seed):
    rng = random.Random(seed)
    pieces = ["cat", "cats", "Cat's", "'LL", " ", "  ", "\t", "é", "日本", "½", "42", "_", "!!", "\x1c", "&amp;",
              "&amp;lt;", "😀", "a", "b", "<|endoftext|>", "İ", "'", "\ud800", "e\u0301", "\u00a0",
              "'ſ", "<|ſtartoftext|>", "\u0345", "'\u212a"]
    pieces += ["".join(rng.choices("abc", k=8)) for _ in pieces]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 12))) for _ in range(30)]
    tokenizer = Tokenizer.train(texts[:15], 560)
    for text in texts + texts:  # the second time from the cache
        assert tokenizer.encode(text) == slow_encode(tokenizer, text)


def test_round_trip_of_any_unicode():
    rng = random.Random(0)
    ranges = [(0, 0x20), (0x20, 0x7F), (0x7F, 0x250), (0x300, 0x370), (0x2000, 0x2070), (0x4E00, 0x9FFF),
              (0xD800, 0xE000), (0x1F300, 0x1FAFF), (0, 0x110000)]
    texts = [""] + ["".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randint(0, 20)))
                    for _ in range(1000)]
    tokenizer = Tokenizer.train(texts[:200], 800)
    for text in texts:
        expected = clean(text).encode("utf-8", "replace").decode()  # lone surrogates become question marks
        assert squeezed(tokenizer.decode(tokenizer.encode(text))) == squeezed(expected)


def test_bytes_that_are_no_utf8_decode_to_the_replacement_character():
    assert Tokenizer([]).decode([127, 256 + 64]) == "\ufffda "


# ---- Rows of a batch -------------------------------------------------------------------------------------------------


def test_rows_are_start_ids_end_zeros():
    rows = Tokenizer([])(["ab", ""], context_length=6)
    assert rows.dtype == torch.long
    assert rows.tolist() == [[512, 64, 256 + 65, 513, 0, 0], [512, 513, 0, 0, 0, 0]]
    assert Tokenizer([])("ab").tolist() == [[512, 64, 256 + 65, 513] + [0] * 73]


def test_without_padding_the_longest_text_gives_the_width():
    assert Tokenizer([])(["ab", ""], pad=False).tolist() == [[512, 64, 256 + 65, 513], [512, 513, 0, 0]]
    assert Tokenizer([])("abcd", 4, truncate=True, pad=False).tolist() == [[512, 64, 65, 513]]


def test_no_texts_give_no_rows():
    rows = Tokenizer([])([])
    assert rows.shape == (0, 77) and rows.dtype == torch.long


def test_too_long_says_how_many_tokens_and_truncation_keeps_the_end():
    tokenizer = Tokenizer([])
    assert tokenizer("abc", context_length=5).tolist() == [[512, 64, 65, 256 + 66, 513]]
    with pytest.raises(ValueError, match=r"\b6\b.*\b5\b") as error:
        tokenizer(["a", "abcd"], context_length=5)
    assert "\n" not in str(error.value)
    assert tokenizer("abcd", context_length=5, truncate=True).tolist() == [[512, 64, 65, 66, 513]]


# ---- OpenAI's merges -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published():
    if "CLIP_BPE" not in os.environ:
        pytest.skip("CLIP_BPE is not set to the path of OpenAI's bpe_simple_vocab_16e6.txt.gz")
    return Tokenizer.from_merges()


def test_published_ids(published):
    """400 texts of all kinds. Where ftfy.fix_text, OpenAI's first step, matters, the ids without that step count."""
    assert (published.sot, published.eot) == (GOLDEN["sot"], GOLDEN["eot"]) == (49406, 49407)
    assert len(GOLDEN["texts"]) == 400
    for golden in GOLDEN["texts"]:
        text, ids = golden["text"], golden.get("ids_without_ftfy", golden["ids"])
        length = golden.get("full_length_without_ftfy", golden["full_length"])
        assert published(text, truncate=True).tolist() == [ids + [0] * (77 - len(ids))], text
        assert len(published.encode(text)) + 2 == length, text
        if length > 77:
            with pytest.raises(ValueError, match=re.escape(str(length))):
                published(text)


@pytest.mark.parametrize("text, ids", [
    ("the cat'ſ hat", [518, 2368, 6, 129, 379, 3801]),  # 6, 129, 379: "'", the first and the last byte of the long s
    ("<|ſTARTOFTEXT|>a", [27, 91, 129, 123, 2002, 6659, 18169, 91, 285, 320]),
    ("<|STARTOFTEXT|>", [49406]),
    ("'\u212a \u212aelvin", [262, 330, 32859]),
    ("a\u0345b", [320, 321]),
    (" \u0345 ", []),
])
def test_published_ids_where_case_is_ignored(published, text, ids):
    """What OpenAI's SimpleTokenizer gives, with ftfy.fix_text left out: its pattern is compiled with IGNORECASE."""
    assert published.encode(text) == ids


def test_published_decoding(published):
    for golden in GOLDEN["texts"]:
        assert published.decode(golden["ids"]) == golden["decoded"]


def test_only_what_ftfy_repairs_differs_from_openai(published):
    """The texts whose ids are not those of OpenAI's code with ftfy: curly quotes, half- and full-width forms, letters
    in more than one spelling, control characters, decoding errors, HTML escaped more than twice; and no others."""
    differ = {golden["text"] for golden in GOLDEN["texts"]
              if published(golden["text"], truncate=True)[0, :len(golden["ids"])].tolist() != golden["ids"]}
    assert differ == {golden["text"] for golden in GOLDEN["texts"] if golden["ftfy_matters"]} and len(differ) == 55
    assert {"don’t", "ﾊﾝｶｸ", "nul\x00byte", "cafÃ©", "&amp;amp;amp;"} <= differ


def test_round_trip_of_any_unicode_with_published_merges(published):
    rng = random.Random(1)
    ranges = [(0x20, 0x7F), (0x7F, 0x250), (0x300, 0x370), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF), (0, 0xD800)]
    for _ in range(500):
        text = "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randint(0, 30)))
        ids = published.encode(text)
        assert squeezed(published.decode(ids)) == squeezed(clean(text)) and all(0 <= i < 49406 for i in ids)
