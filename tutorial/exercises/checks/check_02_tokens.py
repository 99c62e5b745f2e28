"""Checks of chapter 2."""
from compare import close, expect


def check_2_1(student):
    close(student.word_to_bytes("hi"), ["h", "i</w>"], {
        '"</w>" belongs to the last token and is none of its own': ["h", "i", "</w>"],
        'the last token must end in "</w>", so that "hi" in "hi there" and in "high" differ': ["h", "i"],
        "a list of tokens is wanted, not a string": "hi</w>",
    }, 'word_to_bytes("hi")')
    expect(isinstance(student.word_to_bytes("hi"), list), "a list of tokens is wanted, not a tuple")
    close(student.word_to_bytes("é"), ["Ã", "©</w>"], {
        "one token for each byte, not for each character: encode the word first": ["é</w>"],
        'every byte has "</w>": only the last one ends the word': ["Ã</w>", "©</w>"],
    }, 'word_to_bytes("é")')
    close(student.word_to_bytes("a\n"), ["a", "Ċ</w>"], {
        "take the character of a byte from BYTES: chr gives ones that can't be printed": ["a", "\n</w>"],
    }, r'word_to_bytes("a\n")')


def check_2_2(student):
    spelling = {"abab": ["a", "b", "a", "b"], "ba": ["b", "a"], "c": ["c"]}
    word_counts = {"abab": 3, "ba": 5, "c": 7}
    close(student.count_pairs(spelling, word_counts), {("a", "b"): 6, ("b", "a"): 8}, {
        "each word counts as often as it occurs": {("a", "b"): 2, ("b", "a"): 2},
        "a pair that is twice in a word counts twice": {("a", "b"): 3, ("b", "a"): 8},
        "first and second are not interchangeable: (a, b) is not (b, a)": {("a", "b"): 14},
        "pairs across the end of one word and the start of the next do not count":
            {("a", "b"): 6, ("b", "a"): 8, ("b", "b"): 3, ("a", "c"): 5},
    }, "count_pairs")
    close(student.count_pairs({"aaa": ["a", "a", "a"]}, {"aaa": 2}), {("a", "a"): 4},
          case='count_pairs of ["a", "a", "a"]')


def check_2_3(student):
    tokens = ["a", "b", "a", "b", "c</w>"]
    close(student.merge(tokens, ("a", "b")), ["ab", "ab", "c</w>"], {
        "all occurrences are merged, not only the first": ["ab", "a", "b", "c</w>"],
        "tokens that are not part of the pair must stay": ["ab", "ab"],
        "nothing was merged; a list is never equal to a tuple, compare it with list(pair)": tokens,
    }, "merge")
    expect(isinstance(student.merge(tokens, ("a", "b")), list), "a list of tokens is wanted, not a tuple")
    close(student.merge(["a", "a", "a"], ("a", "a")), ["aa", "a"], {
        "a token was used twice: after a merge go on two places further": ["aa", "aa"],
        "go from left to right": ["a", "aa"],
    }, 'merge(["a", "a", "a"], ("a", "a"))')
    close(student.merge(["ab", "c", "a", "bc"], ("a", "bc")), ["ab", "c", "abc"], {
        "compare whole tokens: the text abc may be cut in other ways": ["abc", "abc"],
    }, "merge of longer tokens")
    close(student.merge(["b", "a"], ("a", "b")), ["b", "a"], case="a pair that does not occur")


def check_2_4(student):
    word_counts = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    close(student.train_merges(word_counts, 3), [("p", "u"), ("h", "u"), ("pu", "n</w>")], {
        "each time count again: a merge changes what the neighbours are":
            [("p", "u"), ("u", "n</w>"), ("h", "u")],
        "each word counts as often as it occurs": [("h", "u"), ("p", "u"), ("b", "u")],
        "the rarest pair was merged": [("b", "u"), ("bu", "n</w>"), ("g", "s</w>")],
    }, "three merges")
    close(student.train_merges({"ba": 1, "ab": 1}, 1), [("a", "b</w>")], {
        "of equally common pairs take the alphabetically first, or the order of the texts matters":
            [("b", "a</w>")],
    }, "two pairs as common")
    close(student.train_merges({"ab": 2}, 5), [("a", "b</w>")], case="no pair is left after one merge")


def check_2_5(student):
    merges = [("b", "c"), ("a", "b"), ("bc", "d</w>"), ("a", "bcd</w>")]
    close(student.encode_word("abcd", merges[:2]), ["a", "bc", "d</w>"], {
        "merge the pair that was learned earliest, wherever it stands, not the leftmost":
            ["ab", "c", "d</w>"],
        "nothing was merged": ["a", "b", "c", "d</w>"],
    }, 'encode_word("abcd") with (b, c), then (a, b)')
    close(student.encode_word("abcd", merges), ["abcd</w>"], {
        "go on until no pair was learned: merged tokens merge further": ["a", "bc", "d</w>"],
    }, "four merges")
    merges = [("b", "c"), ("bc", "bc"), ("b", "c</w>")]
    close(student.encode_word("bcbc", merges), ["bc", "bc</w>"], {
        'tokens with and without "</w>" differ': ["bcbc</w>"],
    }, 'encode_word("bcbc")')
    close(student.encode_word("xy", []), ["x", "y</w>"], case="no merges")
    close(student.encode_word("abd", [("b", "d</w>"), ("a", "b")]), ["a", "bd</w>"], {
        "the merge with the highest rank is the one learned last; the one learned earliest is wanted":
            ["ab", "d</w>"],
    }, 'encode_word("abd")')


def check_2_6(student):
    vocab = ["Ã", "©</w>", "c", "a", "f", "caf", "!</w>", "Ċ"]
    close(student.decode([5, 0, 1, 6], vocab), "café ! ", {
        "join all tokens before the bytes are decoded: a character's bytes may be in two tokens":
            "caf\ufffd\ufffd ! ",
        "characters stand for bytes: turn them back into bytes and decode these": "cafÃ© ! ",
        'each "</w>" is a space, the last one too': "café !",
        '"</w>" must become a space': "café</w>!</w>",
    }, "café !")
    close(student.decode([2, 0], vocab), "c\ufffd", case="bytes that are no UTF-8")
    close(student.decode([2, 7, 3], vocab), "c\na", case="a line break")


def check_2_7(student):
    close(student.predict_tokens(), 20, {
        "ï, é and ñ are two bytes each": 17,
        "start and end of text are tokens too": 18,
        "no token stands for a space: the end of a word is part of its last token": 22,
        "these are characters without start and end; count bytes, and add two": 15,
    }, tell=False)
