"""What may follow: rules that a search, or a draw of samples, keeps to at each step.

A rule changes log-probabilities in place, given what has been written. Most only forbid (minus
infinity); probabilities are not made to sum to one again, so that those of what may follow stay
the model's own. What nobody asks for has no rule, and costs nothing.

Shapes: R searches (each for one request), W hypotheses of each, V vocabulary, T tokens written so
far, P phrases, L tokens of a phrase.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from seq2seq.config import Decoding
from seq2seq.data.tokenizer import BOS, EOS, PAD, UNK
from seq2seq.decoding.engine import Phrase, Request

# log-probabilities (R, W, V), tokens (R, W, 1 + T) with <s>, and the request of each search (R,)
Rule = Callable[[Tensor, Tensor, Tensor], None]

NEVER = (PAD, UNK, BOS)  # what no hypothesis may contain, unless it must begin with it or is told
ANY = -1  # in a table of phrases: any token
NONE = -2  # in place of a token where there is none
FORBIDDEN = float("-inf")


def rules_of(
    requests: Sequence[Request],
    options: Decoding,
    device: torch.device,
    more: Sequence[Rule] = (),
) -> list[Rule]:
    """The rules for some requests, in the order in which they must be applied.

    `more` are others that only forbid. The longest length is above all, then the prefix. Where
    nothing may follow at all, a hypothesis is lost.
    """
    some_unknown = any(one.unknown for one in requests)
    rules: list[Rule] = [Clean(requests, device) if some_unknown else clean]
    if options.no_repeat_ngram:
        rules.append(NoRepeat(options.no_repeat_ngram))
    if any(one.absent for one in requests):
        rules.append(Absent([one.absent for one in requests], device))
    if any(one.shortest for one in requests):
        rules.append(Shortest(requests, device))
    if options.repetition_penalty > 1:
        rules.append(Repetition(options.repetition_penalty))
    rules += more
    if any(one.prefix for one in requests):
        rules = [Prefix(requests, device, rules)]
    return [*rules, Longest(requests, device)]


def clean(log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
    """No special token but </s>."""
    log_probabilities[:, :, NEVER] = FORBIDDEN


class Clean:
    """The same, but for requests that may have unknown pieces."""

    def __init__(self, requests: Sequence[Request], device: torch.device) -> None:
        self.unknown = torch.tensor([one.unknown for one in requests], device=device)

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        unknown = log_probabilities[:, :, UNK].clone()
        clean(log_probabilities, tokens, places)
        may = self.unknown[places][:, None]
        log_probabilities[:, :, UNK] = unknown.masked_fill(~may, FORBIDDEN)


class Longest:
    """A hypothesis that is as long as it may be must end."""

    def __init__(self, requests: Sequence[Request], device: torch.device) -> None:
        self.lengths = torch.tensor([one.longest for one in requests], device=device)

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        must_end = self.lengths[places] == tokens.shape[2] - 1
        if must_end.any():
            end = log_probabilities[must_end, :, EOS].clone()
            log_probabilities[must_end] = FORBIDDEN
            log_probabilities[must_end, :, EOS] = end


class Shortest:
    """A hypothesis that is too short may not end."""

    def __init__(self, requests: Sequence[Request], device: torch.device) -> None:
        lengths = [min(one.shortest, one.longest) for one in requests]
        self.lengths = torch.tensor(lengths, device=device)

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        log_probabilities[self.lengths[places] > tokens.shape[2] - 1, :, EOS] = FORBIDDEN


class Prefix:
    """A hypothesis begins as it is told to, whatever the other rules say of that."""

    def __init__(
        self, requests: Sequence[Request], device: torch.device, others: Sequence[Rule]
    ) -> None:
        self.table = aligned([one.prefix[: one.longest] for one in requests], NONE).to(device)
        self.others = others

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        written = tokens.shape[2] - 1
        forced: Tensor | None = None
        if written < self.table.shape[1]:
            following = self.table[places, written]  # (R,)
            forced = (following != NONE).nonzero().flatten()
            following = following[forced]
            given = log_probabilities[forced, :, following].clone()  # (forced, W)
        for rule in self.others:
            rule(log_probabilities, tokens, places)
        if forced is not None:
            log_probabilities[forced] = FORBIDDEN
            log_probabilities[forced, :, following] = given


class NoRepeat:
    """No so many tokens stand side by side twice (Paulus et al. 2018, section 2.5)."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        written = tokens[:, :, 1:]
        if written.shape[2] < self.size:
            return
        before = written.unfold(2, self.size, 1)  # (R, W, T - size + 1, size)
        last = written[:, :, written.shape[2] - self.size + 1 :]  # one less: what follows is open
        again = (before[..., :-1] == last[:, :, None]).all(dim=3)
        forbid(log_probabilities, before[..., -1], again)


class Absent:
    """None of a request's phrases is written."""

    def __init__(self, phrases: Sequence[tuple[Phrase, ...]], device: torch.device) -> None:
        ends = [tuple(phrase[-1] for phrase in some) for some in phrases]
        self.ends = aligned(ends, PAD).to(device)  # (requests, P)
        longest = max(len(phrase) for some in phrases for phrase in some)
        self.begins = torch.full((*self.ends.shape, longest - 1), ANY)  # (requests, P, L - 1)
        for request, some in enumerate(phrases):
            for number, phrase in enumerate(some):
                self.begins[request, number, longest - len(phrase) :] = torch.tensor(phrase[:-1])
        self.begins = self.begins.to(device)

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        length = self.begins.shape[2]
        last = functional.pad(tokens, (length, 0), value=NONE)[:, :, tokens.shape[2] :]
        begins = self.begins[places][:, None]  # (R, 1, P, L - 1)
        begun = ((begins == last[:, :, None]) | (begins == ANY)).all(dim=3)  # (R, W, P)
        forbid(log_probabilities, self.ends[places][:, None].expand(begun.shape), begun)


class Repetition:
    """Tokens that have been written cost more: their log-probabilities are multiplied.

    As Keskar et al. (2019) divide positive scores; log-probabilities are negative. So hypotheses
    are no longer ranked by what the model says alone.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, log_probabilities: Tensor, tokens: Tensor, places: Tensor) -> None:
        dearer = log_probabilities.gather(2, tokens).mul_(self.factor)
        log_probabilities.scatter_(2, tokens, dearer)


def forbid(log_probabilities: Tensor, tokens: Tensor, which: Tensor) -> None:
    """Forbids tokens (R, W, n) after each hypothesis, where `which` (R, W, n) says so."""
    tokens = tokens.masked_fill(~which, PAD)  # which is forbidden in any case
    log_probabilities.scatter_(2, tokens, FORBIDDEN)


def aligned(rows: Sequence[Sequence[int]], missing: int) -> Tensor:
    """Rows of numbers as a rectangle, filled up on the right."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[missing] * (width - len(row))] for row in rows])
