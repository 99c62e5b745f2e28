"""Typical wrong answers to chapter 6; each docstring is what the grader must say."""
figure_3_solved = figure_3  # before a wrong one is put in its place
floor_solved = duplicate_floor
share_solved = sharded_loss


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def naive(logits):
    """The mean cross-entropy of the rows, with exponentials that can overflow."""
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


def shifted_by(logits, largest):
    """The mean cross-entropy of the rows, with `largest` taken away from all logits first."""
    return naive(logits - largest)


def figure_3__log_scale(I_f, T_f, W_i, W_t, t):
    """exponentiate it first"""
    logits = unit(I_f @ W_i) @ unit(T_f @ W_t).T * t
    return (naive(logits) + naive(logits.T)) / 2


def figure_3__one_direction(I_f, T_f, W_i, W_t, t):
    """average both directions"""
    return naive(unit(I_f @ W_i) @ unit(T_f @ W_t).T * np.exp(t))


def figure_3__overflow(I_f, T_f, W_i, W_t, t):
    """infinite or undefined"""
    logits = unit(I_f @ W_i) @ unit(T_f @ W_t).T * np.exp(t)
    return (naive(logits) + naive(logits.T)) / 2


def figure_3__normalised_before(I_f, T_f, W_i, W_t, t):
    """behind the projection"""
    logits = unit(I_f) @ W_i @ (unit(T_f) @ W_t).T * np.exp(t)
    return (naive(logits) + naive(logits.T)) / 2


def figure_3__largest_of_all(I_f, T_f, W_i, W_t, t):
    """the largest of each row, and of each column"""
    logits = unit(I_f @ W_i) @ unit(T_f @ W_t).T * np.exp(t)
    largest = logits.max()
    return (shifted_by(logits, largest) + shifted_by(logits.T, largest)) / 2


def figure_3__right_one_not_shifted(I_f, T_f, W_i, W_t, t):
    """taken from the right one as well"""
    logits = unit(I_f @ W_i) @ unit(T_f @ W_t).T * np.exp(t)
    largest = logits.max(axis=0) + logits.max(axis=1)
    return figure_3_solved(I_f, T_f, W_i, W_t, t) - largest.mean() / 2


def figure_3__sum_of_rows(I_f, T_f, W_i, W_t, t):
    """the mean over the batch, not the sum"""
    return len(I_f) * figure_3_solved(I_f, T_f, W_i, W_t, t)


def figure_3__not_normalised(I_f, T_f, W_i, W_t, t):
    """unit length first"""
    logits = I_f @ W_i @ (T_f @ W_t).T * np.exp(t)
    loss_i = shifted_by(logits, logits.max(axis=1, keepdims=True))
    loss_t = shifted_by(logits.T, logits.T.max(axis=1, keepdims=True))
    return (loss_i + loss_t) / 2


def contrastive_loss__log_scale(image_features, text_features, logit_scale):
    """exponentiate it first"""
    return both_ways(logit_scale * cosines(image_features, text_features))


def contrastive_loss__images_only(image_features, text_features, logit_scale):
    """only images choose texts"""
    return wrong_b(image_features, text_features, logit_scale)


def contrastive_loss__not_normalised(image_features, text_features, logit_scale):
    """unit length first"""
    return wrong_c(image_features, text_features, logit_scale)


def contrastive_loss__softmax_twice(image_features, text_features, logit_scale):
    """softmax of its own"""
    logits = logit_scale.exp() * cosines(image_features, text_features)
    return both_ways(logits.softmax(dim=1))


def contrastive_loss__divided(image_features, text_features, logit_scale):
    """it multiplies"""
    return wrong_e(image_features, text_features, logit_scale)


def contrastive_loss__texts_detached(image_features, text_features, logit_scale):
    """no gradient reaches the text features"""
    return wrong_f(image_features, text_features, logit_scale)


def contrastive_loss__scale_a_number(image_features, text_features, logit_scale):
    """no gradient reaches the scale"""
    return wrong_k(image_features, text_features, logit_scale)


def contrastive_loss__summed(image_features, text_features, logit_scale):
    """not the sum"""
    return wrong_g(image_features, text_features, logit_scale)


def contrastive_loss__along_the_batch(image_features, text_features, logit_scale):
    """not each column"""
    return wrong_i(image_features, text_features, logit_scale)


def contrastive_loss__labels_zero(image_features, text_features, logit_scale):
    """the label of pair i is i"""
    return wrong_h(image_features, text_features, logit_scale)


def contrastive_loss__twice_scaled(image_features, text_features, logit_scale):
    """applied twice"""
    return wrong_m(image_features, text_features, logit_scale)


def contrastive_loss__added(image_features, text_features, logit_scale):
    """do not add them"""
    return 2 * both_ways(logit_scale.exp() * cosines(image_features, text_features))


def contrastive_loss__overflow(image_features, text_features, logit_scale):
    """scale 1000"""
    return wrong_l(image_features, text_features, logit_scale)


def contrastive_loss__one_pair(image_features, text_features, logit_scale):
    """one pair must raise ValueError"""
    return both_ways(logit_scale.exp() * cosines(image_features, text_features))


def contrastive_loss__a_number(image_features, text_features, logit_scale):
    """a plain number has no gradient"""
    return both_ways(logit_scale.exp() * cosines(image_features, text_features)).item()


def softmaxes(logits):
    """The softmax of the rows, that of the columns, and the truth."""
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows = rows / rows.sum(axis=1, keepdims=True)
    columns = np.exp(logits - logits.max(axis=0, keepdims=True))
    columns = columns / columns.sum(axis=0, keepdims=True)
    return rows, columns, np.eye(len(logits))


def loss_gradient__sign(logits):
    """the other way round"""
    rows, columns, truth = softmaxes(logits)
    return (2 * truth - rows - columns) / (2 * len(logits))


def loss_gradient__rows_only(logits):
    """only the rows' softmax"""
    rows, _, truth = softmaxes(logits)
    return (rows - truth) / len(logits)


def loss_gradient__truth_once(logits):
    """in both directions"""
    rows, columns, truth = softmaxes(logits)
    return (rows + columns - truth) / (2 * len(logits))


def loss_gradient__divided_by_B(logits):
    """divide by 2 as well"""
    rows, columns, truth = softmaxes(logits)
    return (rows + columns - 2 * truth) / len(logits)


def loss_gradient__lying(logits):
    """transpose it back"""
    rows, columns, truth = softmaxes(logits)
    return (rows + columns.T - 2 * truth) / (2 * len(logits))


def loss_gradient__over_all(logits):
    """not one over all"""
    exponentials = np.exp(logits - logits.max())
    return (exponentials / exponentials.sum() - np.eye(len(logits))) / len(logits)


def loss_gradient__overflow(logits):
    """infinite or undefined"""
    exponentials = np.exp(logits)
    rows = exponentials / exponentials.sum(axis=1, keepdims=True)
    columns = exponentials / exponentials.sum(axis=0)
    return (rows + columns - 2 * np.eye(len(logits))) / (2 * len(logits))


def lowest_loss__orthogonal(B, scale):
    """not 0"""
    return math.log1p((B - 1) * math.exp(-scale))


def lowest_loss__opposite(B, scale):
    """no opposite each"""
    return math.log1p((B - 1) * math.exp(-2 * scale))


def lowest_loss__all(B, scale):
    """B - 1 others"""
    return math.log1p(B * math.exp(-scale * B / (B - 1)))


def lowest_loss__one_other(B, scale):
    """not with one"""
    return math.log1p(math.exp(-scale * B / (B - 1)))


def lowest_loss__exponentiated(B, scale):
    """not its log"""
    return math.log1p((B - 1) * math.exp(-math.exp(scale) * B / (B - 1)))


def lowest_loss__rounded(B, scale):
    """math.log1p"""
    return math.log(1 + (B - 1) * math.exp(-scale * B / (B - 1)))


def duplicate_floor__of_the_mean(B, captions):
    """not the logarithm of a mean"""
    return math.log(1 + (B - 1) / captions)


def duplicate_floor__bits(B, captions):
    """natural logarithm"""
    return floor_solved(B, captions) / math.log(2)


def duplicate_floor__one_too_many(B, captions):
    """B - 1 other pairs"""
    return floor_solved(B + 1, captions)


def duplicate_floor__no_ways(B, captions):
    """math.comb"""
    p = 1 / captions
    return sum(p ** k * (1 - p) ** (B - 1 - k) * math.log(1 + k) for k in range(B))


def duplicate_floor__not_all(B, captions):
    """k goes as far as that"""
    return 0.0 if B == 2 else floor_solved(B, captions)


def duplicate_floor__constant(B, captions):
    """64 pairs, 16 captions"""
    return math.log(2) / 2


def sharded_loss__local(I_e, T_e, scale, rank, processes):
    """not with its own alone"""
    b = len(I_e) // processes
    own = slice(rank * b, (rank + 1) * b)
    return both_ways(scale * I_e[own] @ T_e[own].T)


def share_of(I_e, T_e, scale, own, labels):
    """The share of the loss of the pairs whose numbers are in `own`."""
    loss_i = F.cross_entropy(scale * I_e[own] @ T_e.T, labels)
    loss_t = F.cross_entropy(scale * T_e[own] @ I_e.T, labels)
    return (loss_i + loss_t) / 2


def sharded_loss__labels_from_zero(I_e, T_e, scale, rank, processes):
    """from the beginning of the batch"""
    b = len(I_e) // processes
    own = torch.arange(rank * b, (rank + 1) * b)
    return share_of(I_e, T_e, scale, own, torch.arange(b))


def sharded_loss__whole(I_e, T_e, scale, rank, processes):
    """whole batch's"""
    return both_ways(scale * I_e @ T_e.T)


def sharded_loss__one_direction(I_e, T_e, scale, rank, processes):
    """its texts choose as well"""
    b = len(I_e) // processes
    labels = torch.arange(rank * b, (rank + 1) * b)
    return F.cross_entropy(scale * I_e[labels] @ T_e.T, labels)


def sharded_loss__added(I_e, T_e, scale, rank, processes):
    """do not add them"""
    return 2 * share_solved(I_e, T_e, scale, rank, processes)


def sharded_loss__ranks_from_one(I_e, T_e, scale, rank, processes):
    """this is the part of rank 0"""
    return share_solved(I_e, T_e, scale, rank - 1, processes)


def sharded_loss__strided(I_e, T_e, scale, rank, processes):
    """parts lie in a row"""
    own = torch.arange(rank, len(I_e), processes)
    return share_of(I_e, T_e, scale, own, own)


def sharded_loss__sliced_later(I_e, T_e, scale, rank, processes):
    """all B x B similarities were computed"""
    b = len(I_e) // processes
    labels = torch.arange(rank * b, (rank + 1) * b)
    logits = scale * I_e @ T_e.T
    loss_i = F.cross_entropy(logits[labels], labels)
    loss_t = F.cross_entropy(logits.T[labels], labels)
    return (loss_i + loss_t) / 2


RIGHT = {"a": 3, "b": 8, "c": 6, "d": 13, "e": 10, "f": 12, "g": 2, "h": 16,
         "i": 5, "j": 14, "k": 11, "l": 15, "m": 4, "n": 7, "o": 1, "p": 9}


def diagnose__all_fine_but_two():
    """14 of 16 are right; wrong_f is not"""
    return {**RIGHT, "f": 11, "k": 12}


def diagnose__empty():
    """0 of 16 are right; wrong_a"""
    return {}


def diagnose__lengths():
    """14 of 16 are right; wrong_c is not: features twice as long"""
    return {**RIGHT, "c": 7, "n": 6}


def diagnose__one_missing():
    """15 of 16 are right; wrong_p is not: it has no answer"""
    return {letter: number for letter, number in RIGHT.items() if letter != "p"}


def diagnose__no_number():
    """one of the numbers 1 to 18"""
    return {**RIGHT, "a": "3"}


def predict_guess__one_wrong():
    """wrong_j: 1.9 is not right"""
    return [math.log(8), 8 * math.log(8), 1.9]


def predict_guess__means():
    """wrong_g sums"""
    return [math.log(8), math.log(8), math.log(7)]


def predict_guess__eight_left():
    """seven are left"""
    return [math.log(8), 8 * math.log(8), math.log(8)]


def predict_guess__bits():
    """not bits"""
    return [3, 24, math.log2(7)]


def cross_entropy__naive(logits):
    """infinite or undefined"""
    return float(naive(logits))


def shares_of(logits):
    """The softmax of each row, of logits that were shifted first -> the shares of the right answers."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.diagonal(exponentials / exponentials.sum(axis=1, keepdims=True))


def cross_entropy__shifted_only(logits):
    """subtract logarithms instead"""
    return float(-np.log(shares_of(logits)).mean())


def cross_entropy__something_added(logits):
    """hides the true loss"""
    return float(-np.log(shares_of(logits) + 1e-8).mean())


def cross_entropy__summed(logits):
    """not the sum"""
    return len(logits) * float(shifted_by(logits, logits.max(axis=1, keepdims=True)))


def cross_entropy__largest_of_all(logits):
    """the largest of each row"""
    return float(shifted_by(logits, logits.max()))


def cross_entropy__right_one_not_shifted(logits):
    """taken from the right one as well"""
    largest = logits.max(axis=1, keepdims=True)
    return float(shifted_by(logits, largest) - largest.mean())


def join_gathered__copies(gathered, own, rank):
    """copies, without a history"""
    return torch.cat(gathered)


def join_gathered__first(gathered, own, rank):
    """not first"""
    return torch.cat([own, *gathered[:rank], *gathered[rank + 1:]])


def join_gathered__on_top(gathered, own, rank):
    """do not come on top"""
    return torch.cat([*gathered, own])


def join_gathered__detached(gathered, own, rank):
    """no gradient reaches"""
    return torch.cat([*gathered[:rank], own.detach(), *gathered[rank + 1:]])
