"""What an evaluation found, as tables for people."""

from collections.abc import Sequence

from seq2seq.console import format_number, print_line
from seq2seq.evaluation.results import (
    Judged,
    Result,
    differences,
    differing,
    sliced,
    summary,
)
from seq2seq.scoring.significance import interval, no_difference, p_value


def show(results: Sequence[Result], *, details: bool) -> None:
    """Prints the results; with details also those of slices, and the lines that differ most."""
    first, *others = results
    for name, judged in first.sets.items():
        print_line(name)
        for one in judged.scores.values():
            ends = ", ".join(map(format_number, interval(one)))
            print_line(f"  {one.name:<8} {format_number(one.score):>7} [{ends}]  {one.signature}")
        print_line(f"  {summary(judged.lines, judged.counts, judged.distinct)}")
        if details:
            show_slices(judged)
        for other in others:
            print_line(f"  {other.label}, against {first.label}:")
            show_differences(other.sets[name], judged)
            if details:
                show_lines(other.sets[name], judged)


def show_slices(judged: Judged) -> None:
    """Prints a table for each way to tell lines apart: the scores of each slice."""
    titles = [one.name for one in judged.scores.values()]
    for by, slices in sliced(judged).items():
        width = max(map(len, [by, *slices]))
        print_line(f"  {by:<{width}} {'lines':>7}{''.join(f' {title:>8}' for title in titles)}")
        for name, (lines, *scores) in ((name, one.values()) for name, one in slices.items()):
            cells = "".join(f" {format_number(score):>8}" for score in scores)
            print_line(f"  {name:<{width}} {lines:7,}{cells}")


def show_differences(judged: Judged, baseline: Judged) -> None:
    """Prints how scores differ from those of the first, and how often chance does as much."""
    for metric, found in differences(judged, baseline).items():
        one = judged.scores[metric]
        told = (
            f"p = {p_value(found.bootstrap, 4)} (paired bootstrap),"
            f" {p_value(found.randomization, 4)} (randomization)"
        ).replace("= <", "<")
        if no_difference(found):
            told = "no difference"
        score = format_number(one.score)
        print_line(f"    {one.name:<8} {score:>7} {found.difference:+7.2f}  {told}")


def show_lines(judged: Judged, baseline: Judged) -> None:
    """Prints the lines that differ most from those of the first."""
    for found in differing(judged, baseline):
        print_line(f"    line {found.pop('line'):,}, chrF {found.pop('chrf'):+.1f}")
        for name, text in found.items():
            print_line(f"      {name:<10} {text}")
