"""Typical wrong answers to chapter 7; each docstring is what the grader must say."""


def learning_rate__from_zero(step, steps, peak, warmup):
    """the first step would have the rate 0"""
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def learning_rate__cosine_from_zero(step, steps, peak, warmup):
    """begins where warm-up ends"""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * step / steps)) / 2


def learning_rate__quarter(step, steps, peak, warmup):
    """a quarter is steep"""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * math.cos(math.pi / 2 * (step - warmup) / (steps - warmup))


def learning_rate__line(step, steps, peak, warmup):
    """not a line"""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / (steps - warmup)


def plotted(x, y, **labels):
    axis = Figure().add_subplot()
    axis.plot(x, y)
    axis.set(**labels)
    return axis.figure


def draw_schedule__from_one(steps, peak, warmup):
    """steps count from 0"""
    rates = [learning_rate(step, steps, peak, warmup) for step in range(steps)]
    return plotted(range(1, steps + 1), rates, xlabel="step")


def draw_schedule__share(steps, peak, warmup):
    """the share of the peak"""
    rates = [learning_rate(step, steps, 1, warmup) for step in range(steps)]
    return plotted(range(steps), rates)


def draw_schedule__no_labels(steps, peak, warmup):
    """label both axes"""
    rates = [learning_rate(step, steps, peak, warmup) for step in range(steps)]
    return plotted(range(steps), rates, xlabel="step")


def sorted_by(parameters, decays):
    """The names for which decays(name, parameter) is true, and the others."""
    with_decay = [name for name, parameter in parameters.items() if decays(name, parameter)]
    return with_decay, [name for name in parameters if name not in with_decay]


def decay_groups__biases_only(parameters):
    """gains (bn1.weight, ln_1.weight)"""
    return sorted_by(parameters, lambda name, parameter: "bias" not in name)


def decay_groups__ending(parameters):
    """not all there is"""
    return sorted_by(parameters, lambda name, parameter: name.endswith(".weight") and parameter.ndim > 1)


def decay_groups__everything(parameters):
    """everything decays"""
    return list(parameters), []


def decay_groups__swapped(parameters):
    """come first"""
    return sorted_by(parameters, lambda name, parameter: parameter.ndim < 2)


def means(grad, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad ** 2


def adamw_step__l2(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """Adam with L2"""
    m, v = means(grad + decay * p, m, v, beta1, beta2)
    m_hat = m / (1 - beta1 ** t)
    v_hat = v / (1 - beta2 ** t)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def adamw_step__eps_under_the_root(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """not under it"""
    m, v = means(grad, m, v, beta1, beta2)
    m_hat = m / (1 - beta1 ** t)
    v_hat = v / (1 - beta2 ** t)
    return p - lr * m_hat / np.sqrt(v_hat + eps) - lr * decay * p, m, v


def adamw_step__not_corrected(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """divide them by 1 - beta^t"""
    m, v = means(grad, m, v, beta1, beta2)
    return p - lr * m / (np.sqrt(v) + eps) - lr * decay * p, m, v


def adamw_step__decay_without_rate(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """multiplied by the learning rate"""
    m, v = means(grad, m, v, beta1, beta2)
    m_hat = m / (1 - beta1 ** t)
    v_hat = v / (1 - beta2 ** t)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps) - decay * p, m, v


def clamp_scale__at_100(logit_scale):
    """its highest value is ln 100"""
    logit_scale.data.clamp_(max=100)


def clamp_scale__exponentiated(logit_scale):
    """its log is what the parameter holds"""
    logit_scale.data.copy_(logit_scale.data.exp().clamp(max=100))


def clamp_scale__floor(logit_scale):
    """a low scale may stay"""
    logit_scale.data.clamp_(0, math.log(100))


def clamp_scale__a_copy(logit_scale):
    """its highest value is ln 100"""
    logit_scale = logit_scale.clamp(max=math.log(100))


def predict_accumulated_loss__whole():
    """not 1,024"""
    return math.log(1024)


def predict_accumulated_loss__sum():
    """not the sum"""
    return 16 * math.log(64)


def predict_accumulated_loss__bits():
    """not bits"""
    return 6


def cached_gradients__plain_accumulation(encode_image, encode_text, logit_scale, images, texts, micro_batch):
    """each piece's own loss"""
    total = 0
    for image_piece, text_piece in zip(images.split(micro_batch), texts.split(micro_batch)):
        loss = contrastive_loss(encode_image(image_piece), encode_text(text_piece), logit_scale)
        loss = loss * len(image_piece) / len(images)
        loss.backward()
        total = total + loss.detach()
    return total


def cached_gradients__whole_batch(encode_image, encode_text, logit_scale, images, texts, micro_batch):
    """with a graph"""
    loss = contrastive_loss(encode_image(images), encode_text(texts), logit_scale)
    loss.backward()
    return loss.detach()


def features_of_all(encode_image, encode_text, images, texts):
    with torch.no_grad():
        image_features = encode_image(images)
        text_features = encode_text(texts)
    return image_features.requires_grad_(), text_features.requires_grad_()


def again(encode, inputs, gradient, micro_batch):
    """Each piece once more, with a graph."""
    for piece, part in zip(inputs.split(micro_batch), gradient.split(micro_batch)):
        encode(piece).backward(part)


def cached_gradients__scale_forgotten(encode_image, encode_text, logit_scale, images, texts, micro_batch):
    """reached logit_scale"""
    image_features, text_features = features_of_all(encode_image, encode_text, images, texts)
    loss = contrastive_loss(image_features, text_features, logit_scale.detach())
    loss.backward()
    again(encode_image, images, image_features.grad, micro_batch)
    again(encode_text, texts, text_features.grad, micro_batch)
    return loss.detach()


def cached_gradients__text_forgotten(encode_image, encode_text, logit_scale, images, texts, micro_batch):
    """reached the text encoder"""
    image_features, text_features = features_of_all(encode_image, encode_text, images, texts)
    loss = contrastive_loss(image_features, text_features, logit_scale)
    loss.backward()
    again(encode_image, images, image_features.grad, micro_batch)
    return loss.detach()


def cached_gradients__averaged(encode_image, encode_text, logit_scale, images, texts, micro_batch):
    """not be averaged"""
    image_features, text_features = features_of_all(encode_image, encode_text, images, texts)
    loss = contrastive_loss(image_features, text_features, logit_scale)
    loss.backward()
    again(encode_image, images, image_features.grad / 3, micro_batch)
    again(encode_text, texts, text_features.grad / 3, micro_batch)
    return loss.detach()
