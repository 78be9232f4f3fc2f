"""The flags of `seq2seq translate`, and what they ask for."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from seq2seq.errors import ConfigError

STANDARD = Path("-")  # a standard stream


def translate(
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="A model or run folder; several translate together. Default: the newest run's "
            "best model.  [env var: SEQ2SEQ_MODEL]",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="Change an option, as in decoding.beam=8."
        ),
    ] = None,
    input: Annotated[
        Path, typer.Option("--input", help="A file to translate, packed or not.")
    ] = STANDARD,
    output: Annotated[
        Path, typer.Option("--output", help="Where to write; packed if it ends in .gz or the like.")
    ] = STANDARD,
    tsv: Annotated[
        bool, typer.Option("--tsv", help="Columns with tabs; the translation becomes the last.")
    ] = False,
    column: Annotated[
        int | None, typer.Option(min=1, help="Which column to translate, with --tsv.  [default: 1]")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object a line, in and out.")
    ] = False,
    scores: Annotated[bool, typer.Option("--scores", help="With --json: scores, too.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="With --json: pieces, too.")] = False,
    alignments: Annotated[
        Literal["hard", "soft"] | None,
        typer.Option(help="Which word was written from which: the likeliest, or all weights."),
    ] = None,
    attention: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A page (.html) of what each piece attended to, how likely it was, and what the "
            "search dropped; or that as .json, or in pictures, .png.",
        ),
    ] = None,
    attention_format: Annotated[
        Literal["html", "json", "png"] | None,
        typer.Option(help="What --attention writes.  [default: as its name ends]"),
    ] = None,
    replace_unk: Annotated[
        bool,
        typer.Option("--replace-unk", help="Unknown words become those that they attend to."),
    ] = False,
    split: Annotated[
        bool, typer.Option("--split", help="Translate long lines in parts; else they are cut.")
    ] = False,
    buffer: Annotated[
        int | None,
        typer.Option(
            min=1, help="Lines that are read and translated at once.  [default: 4096, shared out]"
        ),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Answer each line before the next is read.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an --output that was interrupted.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the lines, each with the model.")
    ] = 1,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Hypotheses to keep; 1 is greedy search.")
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(min=0.0, help="0 favours short translations, 1 longer ones.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Pieces that a translation may have.")
    ] = None,
    no_repeat_ngram: Annotated[
        int | None, typer.Option(min=0, help="So many pieces never stand side by side twice.")
    ] = None,
    n_best: Annotated[int | None, typer.Option(min=1, help="Translations of each line.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw translations at random instead of searching.")
    ] = False,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1, samples are likelier; above, more varied.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=0, help="Draw from so many of the likeliest pieces.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest that have such a share together.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Draw from pieces so likely, relative to the likeliest.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="What samples are drawn by.")] = None,
    risk: Annotated[
        Literal["none", "chrf", "bleu"] | None,
        typer.Option(help="Give the one most like all others found, by chrF or BLEU."),
    ] = None,
    engine: Annotated[
        Literal["auto", "pytorch", "ctranslate2"] | None, typer.Option(help="Who searches.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None, typer.Option(help="What is computed in.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    tag: Annotated[
        str | None, typer.Option(help="What to put before each line, such as <2de>, if trained so.")
    ] = None,
) -> None:
    """Translate lines of text, TSV or JSON: one line out for each line in.

    Without --input and --output, standard input to standard output. Every option of decoding that
    has no flag here can be set by --set; docs/translating.md shows them all.
    """
    from seq2seq.report.attention import sheet_of
    from seq2seq.text.streams import Files
    from seq2seq.translate import Pace, Shape, translate

    if column is not None and not tsv:
        raise ConfigError("--column names a column of TSV; give --tsv, too")
    if stream and buffer is not None:
        raise ConfigError("--stream answers each line by itself; leave out --buffer")
    if stream and processes > 1:
        raise ConfigError("--stream has one line at a time to do; leave out --processes")
    if attention_format and not attention:
        raise ConfigError("--attention-format is of a file; give --attention FILE, too")
    given = {
        "beam": beam,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "no_repeat_ngram": no_repeat_ngram,
        "n_best": n_best,
        "sampling": sample or None,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
        "risk": risk,
        "engine": engine,
        "precision": precision,
    }
    pace = Pace(resume=resume, processes=processes)
    size = 1 if stream else buffer
    named = os.environ.get("SEQ2SEQ_MODEL")  # one: several would need a mark between their paths
    translate(
        model or ([Path(named)] if named else []),
        overrides or [],
        {name: value for name, value in given.items() if value is not None},
        device=device,
        tag=tag,
        files=Files(*(None if path == STANDARD else path for path in (input, output))),
        shape=Shape(
            as_json,
            (column or 1) if tsv else None,
            scores,
            tokens,
            split,
            alignments,
            replace_unk,
            sheet_of(attention, attention_format) if attention else None,
        ),
        pace=pace._replace(buffer=size) if size else pace,
    )
