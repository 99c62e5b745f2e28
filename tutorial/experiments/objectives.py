"""The objectives of Figure 2: four ways to learn from captions, around the same image encoder.

Each has loss(images, tokens), a scalar in nats, and scores(images, tokens): how well each of N texts
fits each of B images (B, N). Tokens begin and end as the Tokenizer's do.

Letters in shape comments: B images or texts, N texts, T tokens, V vocabulary, D width of the
transformer, E joint embedding.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from clip_minimal import CLIP, ModifiedResNet, contrastive_loss


class LanguageModel(CLIP):
    """Predicts the caption, token by token. A text's score is its log-likelihood.

    It is the transformer of CLIP's text encoder, with the image's features where the start token would
    stand. So D, its width, has to be E as well.
    """

    def log_likelihood(self, features, tokens):
        """Features (B, E) and tokens (B, T) -> log-likelihoods (B,) in nats, that of the end token included."""
        T = tokens.shape[1]
        # the image, then each token but the first and the last -> what comes next
        words = self.token_embedding(tokens[:, 1:-1])  # (B, T - 2, D)
        x = torch.cat([features[:, None], words], dim=1)  # (B, T - 1, D)
        x = x + self.positional_embedding[:T - 1]
        later_tokens = torch.ones(T - 1, T - 1, dtype=torch.bool, device=x.device).triu(1)
        x = self.transformer(x, later_tokens)
        x = self.ln_final(x) @ self.text_projection  # (B, T - 1, D)
        logits = x @ self.token_embedding.weight.T  # (B, T - 1, V)
        # how surprising each token is; padding behind the end is not predicted
        surprise = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")  # (B, T - 1)
        ended = (tokens == self.eot_token).cumsum(dim=1) > 0  # (B, T)
        surprise = surprise.masked_fill(ended[:, :-1], 0)
        return -surprise.sum(dim=1)

    def loss(self, images, tokens):
        """What the caption of an image costs, on average."""
        features = self.encode_image(images)
        return -self.log_likelihood(features, tokens).mean()

    def scores(self, images, tokens):
        """log p(text | image)."""
        rows = []
        for feature in self.encode_image(images):
            same = feature.expand(len(tokens), -1)  # (N, E)
            rows.append(self.log_likelihood(same, tokens))
        return torch.stack(rows)  # (B, N)

    def corrected_scores(self, images, tokens, other_images):
        """log p(text | image) - log p(text): how much likelier the image makes the text.

        Otherwise a text that is common or short would win, whatever is shown. p(text), the likelihood
        without a picture, is the mean of p(text | picture) over the other images.
        """
        given_others = self.scores(other_images, tokens)  # (others, N)
        log_prior = given_others.logsumexp(dim=0) - math.log(len(other_images))  # (N,)
        return self.scores(images, tokens) - log_prior


def shares(tokens, vocab_size):
    """Tokens (B, T) -> (B, V): of the different words of a text each has an equal share; they add up to one.

    Padding, which is 0, and start and end, the last two, are no words.
    """
    bag = torch.zeros(len(tokens), vocab_size, device=tokens.device)
    bag.scatter_(1, tokens, 1.0)
    bag[:, [0, -2, -1]] = 0
    return bag / bag.sum(dim=1, keepdim=True)


class BagOfWordsPrediction(nn.Module):
    """Predicts which words the caption has, in no order (Joulin et al. 2016).

    It is a classifier whose target is each of these words alike. A text's score is the mean
    log-probability of its words.
    """

    def __init__(self, config):
        super().__init__()
        self.visual = ModifiedResNet(config)
        self.words = nn.Linear(config.embed_dim, config.vocab_size)

    def loss(self, images, tokens):
        """What a word of an image's caption costs, on average."""
        targets = shares(tokens, self.words.out_features)  # (B, V)
        products = targets * self.log_probabilities(images)
        return -products.sum(dim=1).mean()

    def scores(self, images, tokens):
        """The mean over the words of each text (B, N)."""
        bags = shares(tokens, self.words.out_features)  # (N, V)
        return self.log_probabilities(images) @ bags.T

    def log_probabilities(self, images):
        """Of each word, for each image (B, V)."""
        logits = self.words(self.visual(images))
        return logits.log_softmax(dim=1)


class Contrastive(CLIP):
    """Predicts which caption of the batch is the image's (Section 2.3): CLIP. A text's score is its scaled cosine."""

    def loss(self, images, tokens):
        """CLIP's loss, with the scale at a hundred at most."""
        image_features = self.encode_image(images)
        text_features = self.encode_text(tokens)
        scale = self.logit_scale.clamp(max=math.log(100))
        return contrastive_loss(image_features, text_features, scale)

    def scores(self, images, tokens):
        """The scaled cosines (B, N)."""
        logits_per_image, _ = self(images, tokens)
        return logits_per_image


class BagOfWordsContrastive(Contrastive):
    """The same with a text encoder that knows no order: the mean of the words' embeddings, then the projection."""

    def encode_text(self, tokens):
        """Tokens (B, T) -> features (B, E)."""
        bags = shares(tokens, self.config.vocab_size)  # (B, V)
        means = bags @ self.token_embedding.weight  # (B, D)
        return means @ self.text_projection
