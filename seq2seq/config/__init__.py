"""An experiment as one value: its options, read from YAML and written to it."""

from seq2seq.config.data import Corpus, Data, File, Source
from seq2seq.config.decoding import Decoding
from seq2seq.config.model import Recurrent, Transformer, why_not_ctranslate2
from seq2seq.config.options import Config, Evaluation, Reported, Tokenizer
from seq2seq.config.reading import load
from seq2seq.config.section import Section
from seq2seq.config.training import LOWER_IS_BETTER, OF_TRUE_TEXT, Training
from seq2seq.config.tuning import Lora
from seq2seq.config.writing import differences, dump

__all__ = [
    "LOWER_IS_BETTER",
    "OF_TRUE_TEXT",
    "Config",
    "Corpus",
    "Data",
    "Decoding",
    "Evaluation",
    "File",
    "Lora",
    "Recurrent",
    "Reported",
    "Section",
    "Source",
    "Tokenizer",
    "Training",
    "Transformer",
    "differences",
    "dump",
    "load",
    "why_not_ctranslate2",
]
