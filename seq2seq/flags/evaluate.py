"""The flags of `seq2seq evaluate`, and what they ask for."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    context: typer.Context,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN or MODEL]",
            envvar="SEQ2SEQ_MODEL",
            help="A run or model folder. Default: the newest run.",
        ),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="A file to translate and score.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="What it should become; several times: any of these.")
    ] = None,
    hypothesis: Annotated[
        Path | None, typer.Option(help="Score this file against --reference, without a model.")
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="OTHER",
            help="Another model (or file, with --hypothesis): does it differ by more than chance?",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(metavar="M1,M2,...", help="ppl, bpc, bleu, chrf, chrf++, ter, rouge1, ..."),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Language of the references, such as zh; it decides how words are cut."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to keep results. Default: evaluation/ in the run.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="Change an option, as in decoding.beam=8."
        ),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Download missing test sets from the URLs in the config."),
    ] = False,
    details: Annotated[
        bool,
        typer.Option("--details", help="Also by length and rarity; lines that differ most."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    tag: Annotated[
        str | None, typer.Option(help="What to put before each line, such as <2de>, if trained so.")
    ] = None,
) -> None:
    """Score a model on its test sets or on given files: perplexity, BLEU, chrF, TER, ROUGE."""
    from seq2seq.evaluation.evaluate import evaluate

    named_by = context.get_parameter_source("run")
    if hypothesis and named_by and named_by.name == "ENVIRONMENT":
        run = None  # SEQ2SEQ_MODEL names the model where one is needed
    evaluate(
        run,
        overrides or [],
        source=source,
        references=reference or [],
        hypothesis=hypothesis,
        compare=compare or [],
        output=output,
        as_json=as_json,
        device=device,
        tag=tag,
        metrics=",".join(metrics).split(",") if metrics else [],
        details=details,
        language=language,
        fetch=fetch,
    )
