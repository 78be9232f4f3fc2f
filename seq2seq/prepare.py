"""`seq2seq prepare`: text, wherever it lies, becomes a tokenizer and memory-mapped token ids.

    <prepared>/
        tokenizer.source.model, tokenizer.target.model
        train/, valid/            token stores
        watch/<name>/             one for each set that is judged beside valid
        manifest.json             inputs' hashes, options, counts, what each rule dropped
        work/                     what is half done, to go on with

Processes that `torchrun` starts share the work; one of them does what only one can do.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.config import Config
from seq2seq.config.rules import Language
from seq2seq.console import bar, printable, say
from seq2seq.data.cleaning import KEPT, Dropped, rules_of
from seq2seq.data.encoding import Outcome, Sides, total
from seq2seq.data.extension import extend
from seq2seq.data.normalization import normalizer
from seq2seq.data.prepared import FORMAT, LOCK, Known, Manifest, all_at_once, folder_of
from seq2seq.data.shards import (
    WORK,
    Clean,
    Encode,
    Part,
    Shard,
    Work,
    encoded,
    not_of_work,
    settle_all,
)
from seq2seq.data.store import SIDES, STORE_FILES, Store, StoreWriter
from seq2seq.data.tokenizer import Tokenizers, train_tokenizers
from seq2seq.data.workers import default_workers, spread
from seq2seq.distributed import everywhere, leads, least, together
from seq2seq.errors import UserError
from seq2seq.files import fingerprint, new_folder, remove, write_file
from seq2seq.locks import lock
from seq2seq.origins import completed, origin_of
from seq2seq.runs import Opened
from seq2seq.scoring.contamination import contamination
from seq2seq.text.corpus import read_pairs

SETS = ("train", "valid")
WATCH = "watch"
SMALL = 4_000_000  # bytes of text that are prepared before other processes have begun
ROWS = 50_000  # in a shard
CONTAMINATION = "contamination"  # the part of the manifest
TOO_GOOD = "its scores will be too good; take these lines out of data.train, or out of the set"


class Prepared(NamedTuple):
    """What training needs of the data."""

    tokenizers: Tokenizers
    train: Store
    valid: Store
    watch: dict[str, Store]
    key: str  # of the tokenizers, the training and the validation set
    corpora: list[int]  # how many training pairs each has, one corpus after the other


def prepare(config: Config, *, workers: int | None = None) -> Prepared:
    """Makes what is missing or out of date, and opens it."""
    config = completed(config)
    folder = folder_of(config)
    busy = f"waiting for another process, which prepares {folder}"
    held = lock(folder / LOCK, wait=lambda: say(busy), tell=say) if leads() else nullcontext()
    with held:
        preparation = Preparation(config, folder, workers or default_workers())
        preparation.make_tokenizers()
        for name in preparation.known:
            preparation.make_store(name)
        preparation.find_contamination()
        preparation.lead(preparation.remove_work)
        parts = preparation.manifest.parts
        return Prepared(
            preparation.tokenizers,
            Store.open(folder / "train"),
            Store.open(folder / "valid"),
            {name: Store.open(folder / WATCH / name) for name in config.data.watch},
            fingerprint([parts[name]["key"] for name in SETS]),
            [corpus["pairs"] for corpus in parts["train"]["corpora"]],
        )


class CleanSet(NamedTuple):
    """The text of a set, and what was dropped of each of its corpora."""

    work: Work
    plan: Sequence[Shard]
    dropped: list[list[Dropped]]


class Preparation:
    """The steps from text to stores; all processes take each of them together."""

    tokenizers: Tokenizers

    def __init__(self, config: Config, folder: Path, workers: int) -> None:
        self.config = config
        self.folder = folder
        self.workers = least(workers)
        self.manifest = Manifest(folder)
        self.known: dict[str, list[Known]] = {}
        self.tests: dict[str, Known] = {}
        self.lead(self._check)
        if not leads():
            self._find()  # the leader, who may have read standard input, must not look again

    def _check(self) -> None:
        """Finds, fetches and verifies all files; reads through what is not learned from."""
        self.manifest.check_folder([*SETS, *(f"{WATCH}/{name}" for name in self.config.data.watch)])
        known = self._find()
        all_at_once(self.manifest.check, known[len(self.config.data.train) :])
        self.manifest.keep(known)
        self.manifest.save()

    def _find(self) -> list[Known]:
        data = self.config.data
        judged = [data.valid, *data.watch.values()]
        tests = [one for test in data.test.values() for one in test.by_reference]
        known = self.manifest.find([*data.train, *judged, *tests], data)
        sets = ["valid", *(f"{WATCH}/{name}" for name in data.watch)]
        of_sets = known[len(data.train) : len(data.train) + len(sets)]
        of_tests = iter(known[len(data.train) + len(sets) :])
        by_test = {
            name: [next(of_tests) for _ in test.by_reference] for name, test in data.test.items()
        }
        self.tests = {name: first for name, (first, *_) in by_test.items()}
        self.known = {"train": known[: len(data.train)]}
        self.known |= {name: [one] for name, one in zip(sets, of_sets, strict=True)}
        return known

    def lead(self, action: Any) -> None:
        """One process does something; the others go on when it is done."""
        with together():
            if leads():
                action()
        if not leads():
            self.manifest.load()

    def remove_work(self) -> None:
        """Removes what was needed on the way, unless somebody has put something else there."""
        if not not_of_work(self.folder / WORK):
            remove(self.folder / WORK)

    def make_tokenizers(self) -> None:
        """Reads the tokenizers, or makes them of the training text, or takes those of a model."""
        options, folder = self.config.tokenizer, self.folder
        origin = origin_of(self.config)
        if origin and not self.config.training.extend_vocab:
            self.tokenizers = origin.tokenizers
            self._check_pieces(origin)
            key = origin.tokenizers.fingerprint
            if not everywhere(self.manifest.has("tokenizer", key, folder.glob("tokenizer*.model"))):
                self.lead(lambda: self._keep_tokenizers(key, origin.tokenizers))
            return
        tags, more = self._tags("train"), self._own_pieces()
        told = {**options.model_dump(), "normalization": options.normalization.told}
        parts = [self._clean_key("train"), tags, told, self.config.seed, *more]
        key = fingerprint([*parts, origin.tokenizers.fingerprint] if origin else parts)
        if not everywhere(self.manifest.has("tokenizer", key, folder.glob("tokenizer*.model"))):
            cleaned = self._cleaned("train")
            self.lead(lambda: self._train_tokenizers(key, cleaned, origin))
        self.tokenizers = Tokenizers.read(folder)

    def make_store(self, name: str) -> None:
        """Makes the store of a set, unless it is there."""
        tokenizers, longest = self.tokenizers, self.config.data.max_length
        tags = self._tags(name)
        key = fingerprint([name, tokenizers.fingerprint, self._clean_key(name), tags, longest])
        if everywhere(self.manifest.has(name, key, (self.folder / name).glob("*"))):
            return
        cleaned = self._cleaned(name)
        work = self._work(key)
        training = name == "train"
        task = Encode(cleaned.work, work, cleaned.plan, tags, tokenizers, longest, training)
        with together(), bar(name, sum(shard.rows for shard in cleaned.plan), "pairs") as shown:
            spread(task, self._workers(name), shown.update)
        self.lead(lambda: self._merge(name, key, cleaned, task))

    def find_contamination(self) -> None:
        """Tells what of the sets that models are judged by stands in the training text."""
        judged = {name: some[0] for name, some in self.known.items() if name != "train"}
        judged |= {f"test/{name}": one for name, one in self.tests.items()}
        data = self.config.data
        texts = [[name, one.key] for name, one in judged.items()]
        learned = self.manifest.parts["train"]["key"]
        key = fingerprint([learned, texts, data.normalize, data.source, data.target])
        if not everywhere(self.manifest.has(CONTAMINATION, key, [])):
            self.lead(lambda: self._compare(key, judged))

    def _compare(self, key: str, judged: dict[str, Known]) -> None:
        data, learned = self.config.data, Store.open(self.folder / "train")
        normalize = [normalizer(data.normalize, one) for one in (data.source, data.target)]
        found = {}
        for name, one in judged.items():
            pairs = list(read_pairs(one.texts))
            lines = [
                [to_clean(line) for line in side]
                for to_clean, side in zip(normalize, zip(*pairs, strict=True), strict=True)
            ]
            counts = contamination(Sides(*lines), self.tokenizers, learned)
            found[name] = counts._asdict()
            if counts:
                say(f"warning: {name}: {counts}; {TOO_GOOD}")
        self.manifest.add(CONTAMINATION, key, [], {"sets": found})

    def _tags(self, name: str) -> list[str | None]:
        return [known.corpus.tag for known in self.known[name]]

    def _own_pieces(self) -> list[str]:
        """The pieces that objectives need, beside tags."""
        data = self.config.data
        corpora = [*data.learned.values(), *data.judged.values()]
        return sorted(set().union(*(corpus.pieces - {corpus.tag} for corpus in corpora)))

    def _check_pieces(self, origin: Opened) -> None:
        needed = {tag for tag in self._tags("train") if tag} | {*self._own_pieces()}
        sides = {*origin.tokenizers}
        unknown = sorted(piece for piece in needed if not all(one.knows(piece) for one in sides))
        if unknown:
            raise UserError(
                f"the tokenizer of {origin.folder} (training.init_from) has no "
                f"{' and no '.join(unknown)}, for tags or objectives of data; set "
                "training.extend_vocab to true, which adds what is missing"
            )

    def _clean_key(self, name: str) -> list[Any]:
        """All that the clean text of a set depends on."""
        data = self.config.data
        corpora = [known.key for known in self.known[name]]
        rules = [rule for part in self._parts(name) for rule in part.rules]
        by_language = "punctuation" in data.normalize or any(
            isinstance(rule, Language) for rule in rules
        )
        languages = [data.source, data.target] if by_language else None  # else they are but labels
        described = [[rule.model_dump() for rule in part.rules] for part in self._parts(name)]
        return [FORMAT, corpora, described, data.normalize, languages]

    def _parts(self, name: str) -> list[Part]:
        """The corpora of a set; only what is learned from must pass rules."""
        if name != "train":
            return [Part(known.texts, []) for known in self.known[name]]
        data = self.config.data
        return [Part(known.texts, rules_of(known.corpus, data)) for known in self.known[name]]

    def _work(self, key: Any) -> Work:
        return Work(self.folder / WORK / fingerprint([ROWS, key])[:16])

    def _workers(self, name: str) -> int:
        size = sum(known.bytes for known in self.known[name])
        return self.workers if size > SMALL else 1

    def _cleaned(self, name: str) -> CleanSet:
        """The clean text of a set."""
        work, data = self._work(self._clean_key(name)), self.config.data
        plan = work.plan() or []
        if not everywhere(bool(plan)):
            languages = data.source, data.target
            task = Clean(work, self._parts(name), data.normalize, languages, ROWS)
            with together(), bar(f"reading {name}", None, "pairs") as shown:
                found = spread(task, self._workers(name), shown.update)[0]
            self.lead(lambda: settle_all(work, found, task.parts))
            plan = found
        return CleanSet(work, plan, work.dropped())

    def _train_tokenizers(self, key: str, cleaned: CleanSet, origin: Opened | None) -> None:
        options = self.config.tokenizer
        tags = {corpus.tag for corpus in self.config.data.train if corpus.tag}
        own = [*sorted(tags), *self._own_pieces()]
        kept = sum(int((some == KEPT).sum()) for some in cleaned.work.fates(cleaned.plan))
        rows = sum(shard.rows for shard in cleaned.plan)
        left = f" of {kept:,} pairs, which rules left of {rows:,}," if kept < rows else ""
        if not kept:
            nothing = [Outcome(0, 0, 0, 0, [])] * len(cleaned.dropped)
            raise nothing_left("train", self._facts("train", cleaned, nothing))
        finding = f"finding {options.vocab_size:,} pieces ({options.kind})"
        say(finding if origin is None else f"looking for pieces that {origin.folder} lacks")

        def lines(sides: slice) -> Iterator[str]:
            fates = cleaned.work.fates(cleaned.plan)
            with bar("sampling", sum(shard.rows for shard in cleaned.plan), "pairs") as shown:
                for number, shard in enumerate(cleaned.plan):
                    chosen = cleaned.work.lines(number, fates[number])[sides]
                    yield from chain.from_iterable(zip(*chosen, strict=True))
                    shown.update(shard.rows)

        if origin is not None:
            tokenizers = extend(origin.tokenizers, lines, options, own)
        else:
            tokenizers = train_tokenizers(lines, options, self.config.seed, tags=own, left=left)
        self._keep_tokenizers(key, tokenizers)

    def _keep_tokenizers(self, key: str, tokenizers: Tokenizers) -> None:
        folder = self.folder
        self.manifest.claim("tokenizer", tokenizers.files)
        for file in folder.glob("tokenizer*.model"):
            if file.name in self.manifest.owned("tokenizer"):
                file.unlink()
        for file_name, content in tokenizers.files.items():
            write_file(folder / file_name, content)
        sizes = {"source": len(tokenizers.source), "target": len(tokenizers.target)}
        files = [folder / file_name for file_name in tokenizers.files]
        self.manifest.add("tokenizer", key, files, {"pieces": sizes})

    def _merge(self, name: str, key: str, cleaned: CleanSet, task: Encode) -> None:
        """Makes one store of all shards, and tells what became of the pairs."""
        folder = self.folder / name
        outcomes: list[list[Outcome]] = [[] for _ in self.known[name]]
        vocab_sizes = (len(self.tokenizers.source), len(self.tokenizers.target))
        ours = {*STORE_FILES, *self.manifest.owned(name)}
        with new_folder(folder, ours=ours) as partial:
            with StoreWriter(partial, vocab_sizes) as writer:
                for shard, store, outcome in encoded(task.work, cleaned.plan):
                    writer.append(store)
                    outcomes[shard.corpus].append(outcome)
            facts = self._facts(name, cleaned, list(map(total, outcomes)))
            if not facts["pairs"]:
                raise nothing_left(name, facts)
            self.manifest.claim(name, [file.name for file in partial.iterdir()])
        self.manifest.add(name, key, folder.glob("*"), facts)
        say("\n".join(told(name, facts)))

    def _facts(self, name: str, cleaned: CleanSet, outcomes: list[Outcome]) -> dict[str, Any]:
        """What became of the pairs of a set."""
        corpora = [
            {
                "text": [text.name for text in known.texts],
                "rows": sum(shard.rows for shard in cleaned.plan if shard.corpus == number),
                "pairs": outcome.pairs,
                "dropped": [one._asdict() for one in [*dropped, *outcome.dropped] if one.pairs],
            }
            for number, (known, outcome, dropped) in enumerate(
                zip(self.known[name], outcomes, cleaned.dropped, strict=True)
            )
        ]
        facts = total(outcomes)._asdict()
        del facts["dropped"]  # stands with each corpus
        sides = zip(SIDES, facts["normalized"], strict=True)
        normalized = {side: one._asdict() for side, one in sides if one.lines}
        return {**facts, "normalized": normalized, "corpora": corpora}


def nothing_left(name: str, facts: dict[str, Any]) -> UserError:
    """What to say of a set all of whose pairs were dropped."""
    lines = [f"{name} has no pair left:", *told(name, facts)[1:]]
    remedy = "change data.filters or data.max_length, or name other files"
    return UserError("\n".join([*lines, remedy]))


def told(name: str, facts: dict[str, Any]) -> list[str]:
    """What became of the pairs of a set, in lines for people."""
    pieces = f"{facts['source_pieces']:,} and {facts['target_pieces']:,} pieces"
    cut = f", {facts['cut']:,} cut (data.max_length)" if facts["cut"] else ""
    lines = [f"{name}: {facts['pairs']:,} pairs, {pieces}{cut}"]
    for side, one in facts["normalized"].items():
        share = f"{one['lines']:,} of {facts['pairs']:,} {side} lines"
        lines.append(
            f"  tokenizer.normalization changes {share} ({one['lines'] / facts['pairs']:.1%}), "
            f"such as {printable(one['before'])} to {printable(one['after'])}"
        )
    for corpus in facts["corpora"]:
        if corpus["dropped"]:
            first, *others = corpus["text"]
            more = f" and {len(others)} more" if others else ""
            lines.append(f"  {first}{more}: {corpus['pairs']:,} of {corpus['rows']:,} pairs left")
        for one in corpus["dropped"]:
            lines.append(f"    {one['pairs']:,} dropped by {one['rule']}, such as")
            lines += [f"      {example}" for example in one["examples"]]
    return lines
