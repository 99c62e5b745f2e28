"""A CLIP of a student's own functions: those that pass replace the ones of clip_minimal.py, train_tiny.py and
zeroshot.py.

`python tutorial/grade.py --train` grades them, says which are missing, trains for two minutes, and prints the table.
"""
import dataclasses
import sys
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.append(str(Path(__file__).resolve().parent.parent))
import clip_minimal
import sandbox
import train_tiny
import zeroshot

WHAT = {  # exercises that are needed for a piece: {what it is: their numbers}
    "tokenizer, trained": ["2.1", "2.2", "2.3", "2.4"], "tokenizer, encoding": ["2.1", "2.3", "2.5"],
    "tokenizer, decoding": ["2.6"], "text transformer": ["3.1", "3.2", "3.3", "3.4", "3.5", "3.6"],
    "feature at the end token": ["3.7"], "patches and class token": ["4.2", "4.3"], "ResNet's blocks": ["5.2"],
    "attention pool": ["5.3"], "contrastive loss": ["6.2"], "learning rate": ["7.1"], "weight decay": ["7.3"],
    "clamp on the scale": ["7.5"], "classifier from text": ["8.1", "8.2"], "accuracy": ["8.4"],
    "retrieval": ["8.5", "8.6"]}
USED = {number for numbers in WHAT.values() for number in numbers}


def blocks(transformer, x, mask):
    """x (B, T, D) through all blocks of a clip_minimal.Transformer, for all tokens."""
    for block in transformer.resblocks:
        x = block(x, (slice(None), slice(None)), mask)
    return x


def adopt(mine, have):
    """Put the student's functions in place. mine: {chapter: module}; have: names in WHAT that are to be replaced."""
    if "tokenizer, trained" in have:
        def train(cls, texts, vocab_size):
            words = (word for text in texts for word in clip_minimal._WORD.findall(clip_minimal.clean(text)))
            return cls(mine[2].train_merges(dict(Counter(words)), vocab_size - 514))

        clip_minimal.Tokenizer.train = classmethod(train)
    if "tokenizer, encoding" in have:
        def bpe(self, word):
            if not hasattr(self, "numbers"):
                self.numbers = {symbol: i for i, symbol in enumerate(self.vocab)}
            return [self.numbers[symbol] for symbol in mine[2].encode_word(word, self.merges)]

        clip_minimal.Tokenizer._bpe = bpe
    if "tokenizer, decoding" in have:
        clip_minimal.Tokenizer.decode = lambda self, ids: mine[2].decode(ids, self.vocab)
    own_blocks, causal_mask = blocks, lambda T: torch.ones(T, T, dtype=torch.bool).tril()
    if "text transformer" in have:
        causal_mask = mine[3].causal_mask

        def own_blocks(transformer, x, mask):
            for block in transformer.resblocks:
                x = mine[3].residual_block(x, dict(block.named_parameters()), x.shape[2] // 64, mask)
            return x

    def forward(self, x, place, mask=None):
        return own_blocks(self, x, mask)[torch.arange(len(x))[:, None], place]

    def encode_text(self, tokens):
        x = self.token_embedding(tokens) + self.positional_embedding[:tokens.shape[1]]  # (B, T, D)
        x = own_blocks(self.transformer, x, causal_mask(tokens.shape[1]))
        return self.ln_final(pool_at_end(x, tokens, self.eot_token)) @ self.text_projection  # (B, E)

    @torch.no_grad()
    def encode_texts(model, tokenizer, texts, truncate=False):
        tokens = tokenizer(texts, model.config.context_length, truncate, pad=False)  # (texts, T)
        return torch.cat([F.normalize(model.encode_text(part), dim=-1) for part in tokens.split(256)])

    pool_at_end = mine[3].pool_at_end if "feature at the end token" in have else (
        lambda x, tokens, end: x[torch.arange(len(x)), (tokens == end).int().argmax(dim=-1)])
    clip_minimal.Transformer.forward, clip_minimal.CLIP.encode_text = forward, encode_text
    zeroshot.encode_texts = encode_texts
    if "patches and class token" in have:
        def vit(self, x):
            x = mine[4].patch_embedding(x, self.conv1.weight)  # (B, T, D)
            x = mine[4].add_class_token(x, self.class_embedding, self.positional_embedding)  # (B, T + 1, D)
            x = self.transformer(self.ln_pre(x), torch.zeros(len(x), 1, dtype=torch.long))[:, 0]  # (B, D)
            return self.ln_post(x) @ self.proj  # (B, E)

        clip_minimal.VisionTransformer.forward = vit
    if "ResNet's blocks" in have:
        clip_minimal.Bottleneck.forward = mine[5].Bottleneck.forward
    if "attention pool" in have:
        clip_minimal.AttentionPool2d.forward = mine[5].AttentionPool2d.forward
    if "contrastive loss" in have:
        train_tiny.contrastive_loss = lambda images, texts, scale, rows: mine[6].contrastive_loss(images, texts, scale)
    if "learning rate" in have:
        train_tiny.learning_rate = mine[7].learning_rate
    adopt_optimizer(mine, have)
    if "classifier from text" in have:
        def classifier(model, tokenizer, classnames, templates=("{}",)):
            texts = mine[8].prompts(list(classnames), list(templates))
            features = zeroshot.encode_texts(model, tokenizer, texts).unflatten(0, (-1, len(templates)))  # (N, K, E)
            return mine[8].classifier_weights(features)  # (E, N)

        zeroshot.zero_shot_classifier = classifier
    if "accuracy" in have:
        zeroshot.accuracy = lambda scores, labels: mine[8].top_k_accuracy(scores, labels, 1)
    if "retrieval" in have:
        def retrieval(images, texts, relevant, ks):
            scores, results = images @ texts.T, {}
            for way, s, fits in (("image to text", scores, relevant), ("text to image", scores.T, relevant.T)):
                chance = [mine[8].chance_recall(s.shape[1], int(row.sum()), k) for k in ks for row in fits]
                results |= {f"{way} R@{k}": (mine[8].recall_at_k(s, fits, k), sum(chance) / len(chance)) for k in ks}
            return results

        zeroshot.retrieval = retrieval


def adopt_optimizer(mine, have):
    """The optimizer's groups by 7.3, and 7.5 after each of its steps."""
    make = train_tiny.make_optimizer

    def make_optimizer(model, lr, weight_decay, text_lr):
        optimizer = make(model, lr, weight_decay, text_lr)
        if "weight decay" in have:
            decay, _ = mine[7].decay_groups(dict(model.named_parameters()))
            decay = {id(model.get_parameter(name)) for name in decay}
            for group in optimizer.param_groups:
                group["weight_decay"] = weight_decay * (id(group["params"][0]) in decay)
        if "clamp on the scale" in have:
            optimizer.register_step_post_hook(lambda *_: mine[7].clamp_scale(model.logit_scale))
        return optimizer

    train_tiny.make_optimizer = make_optimizer


def train(rows, folder, minutes=2, name="tiny-RN"):
    """Rows of the grader, the folder of the student's files -> the results of the training, which it prints."""
    passed = {row["exercise"] for row in rows if row["points"] == row["of"]}
    have = [what for what, numbers in WHAT.items() if passed.issuperset(numbers)]
    for what, numbers in WHAT.items():
        missing = [number for number in numbers if number not in passed]
        other = what in (("patches and class token",) if "RN" in name else ("ResNet's blocks", "attention pool"))
        print(f"  {what:26} {'yours' if what in have else 'from the repository; missing: ' + ', '.join(missing)}"
              + f" (not part of {name})" * other)
    files = {int(path.stem[2:4]): path for path in Path(folder).glob("ch*.py")}
    adopt({chapter: sandbox.load(path) for chapter, path in files.items()}, have)

    data = train_tiny.World()
    tokenizer = clip_minimal.Tokenizer.train(data.texts(), clip_minimal.CONFIGS[name].vocab_size)
    config = dataclasses.replace(clip_minimal.CONFIGS[name], vocab_size=len(tokenizer.vocab))

    def fresh():
        torch.manual_seed(0)
        return clip_minimal.CLIP(config).to(memory_format=torch.channels_last)

    rate = 4e-3 if "RN" in name else 2e-3
    print("\na few steps, to see how quick it is")
    quick = train_tiny.train(train_tiny.World(), fresh(), tokenizer, 8, lr=rate, every=4)[-1]["images_per_second"]
    steps = max(20, round(60 * minutes * quick / 256))
    data.names_until = round(data.names_until * steps / 1700)  # as large a share of the steps as by default
    print(f"\n{steps} steps, about {minutes:g} minutes")
    model = fresh()
    train_tiny.train(data, model, tokenizer, steps, lr=rate)
    results = data.evaluate(model, tokenizer)
    print(f"\n{len(have)} of {len(WHAT)} pieces are yours; on pairs of colour and object never seen in training:")
    for what, (value, chance) in results.items():
        print(f"  {what:20}{value:7.1%}   chance {chance:.1%}")
    return results
