"""Languages by any of their names, and the words that scores cut their text into.

A language is named by its code (ISO 639-1, 639-2 or 639-3: zh, chi, zho), with a script or region
behind it (zho_Hans, zh-TW), or in English (Chinese). The scripts are those of ISO 15924.
"""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from seq2seq.config import Corpus, Data

# Code (ISO 639-1 where there is one), other codes, English names: the languages of ISO 639-1, of
# FLORES-200 and of sacreBLEU's test sets, and those of China.
LANGUAGES = """
aa aar Afar; ab abk Abkhazian,Abkhaz; ae ave Avestan; af afr Afrikaans; ak aka Akan
am amh Amharic; an arg Aragonese; ar ara,arb Arabic,Modern Standard Arabic; as asm Assamese
av ava Avaric; ay aym,ayr Aymara; az aze,azj Azerbaijani; ba bak Bashkir; be bel Belarusian
bg bul Bulgarian; bi bis Bislama; bm bam Bambara; bn ben Bengali,Bangla
bo bod,tib Tibetan,Standard Tibetan; br bre Breton; bs bos Bosnian; ca cat Catalan,Valencian
ce che Chechen; ch cha Chamorro; co cos Corsican; cr cre Cree; cs ces,cze Czech
cu chu Church Slavonic; cv chv Chuvash; cy cym,wel Welsh; da dan Danish; de deu,ger German
dv div Dhivehi,Maldivian; dz dzo Dzongkha; ee ewe Ewe; el ell,gre Greek; en eng English
eo epo Esperanto; es spa Spanish,Castilian; et est,ekk Estonian; eu eus,baq Basque
fa fas,per,pes Persian,Farsi; ff ful,fuv Fulah,Fula,Fulani,Nigerian Fulfulde
fi fin Finnish; fj fij Fijian; fo fao Faroese; fr fra,fre French; fy fry Western Frisian,Frisian
ga gle Irish; gd gla Scottish Gaelic; gl glg Galician; gn grn Guarani; gu guj Gujarati
gv glv Manx; ha hau Hausa; he heb,iw Hebrew; hi hin Hindi; ho hmo Hiri Motu; hr hrv Croatian
ht hat Haitian,Haitian Creole; hu hun Hungarian; hy hye,arm Armenian; hz her Herero
ia ina Interlingua; id ind Indonesian; ie ile Interlingue; ig ibo Igbo; ii iii Sichuan Yi,Nuosu
ik ipk Inupiaq; io ido Ido; is isl,ice Icelandic; it ita Italian; iu iku Inuktitut
ja jpn,jp Japanese; jv jav Javanese; ka kat,geo Georgian; kg kon Kongo,Kikongo
ki kik Kikuyu,Gikuyu; kj kua Kuanyama; kk kaz Kazakh; kl kal Greenlandic,Kalaallisut
km khm Khmer,Central Khmer,Cambodian; kn kan Kannada; ko kor Korean; kr kau,knc Kanuri
ks kas Kashmiri; ku kur,kmr Kurdish,Kurmanji; kv kom Komi; kw cor Cornish; ky kir Kyrgyz,Kirghiz
la lat Latin; lb ltz Luxembourgish; lg lug Ganda,Luganda; li lim Limburgish; ln lin Lingala
lo lao Lao,Laotian; lt lit Lithuanian; lu lub Luba-Katanga; lv lav,lvs Latvian
mg mlg,plt Malagasy; mh mah Marshallese; mi mri,mao Maori,Māori; mk mkd,mac Macedonian
ml mal Malayalam; mn mon,khk Mongolian,Halh Mongolian; mr mar Marathi; ms msa,may,zsm Malay
mt mlt Maltese; my mya,bur Burmese,Myanmar; na nau Nauru; nb nob Norwegian Bokmål,Bokmål
nd nde North Ndebele; ne nep,npi Nepali; ng ndo Ndonga; nl nld,dut Dutch,Flemish
nn nno Norwegian Nynorsk,Nynorsk; no nor Norwegian; nr nbl South Ndebele; nv nav Navajo
ny nya Chichewa,Nyanja; oc oci Occitan; oj oji Ojibwa,Ojibwe; om orm,gaz Oromo
or ori,ory Oriya,Odia; os oss Ossetian; pa pan Punjabi,Panjabi; pi pli Pali; pl pol Polish
ps pus,pbt Pashto; pt por Portuguese; qu que,quy Quechua; rm roh Romansh; rn run Rundi,Kirundi
ro ron,rum Romanian,Moldovan; ru rus Russian; rw kin Kinyarwanda; sa san Sanskrit
sc srd Sardinian; sd snd Sindhi; se sme Northern Sami; sg sag Sango; si sin Sinhala,Sinhalese
sk slk,slo Slovak; sl slv Slovenian,Slovene; sm smo Samoan; sn sna Shona; so som Somali
sq sqi,alb,als Albanian; sr srp Serbian; ss ssw Swati,Swazi; st sot Southern Sotho,Sesotho
su sun Sundanese; sv swe Swedish; sw swa,swh Swahili; ta tam Tamil; te tel Telugu
tg tgk Tajik; th tha Thai; ti tir Tigrinya; tk tuk Turkmen; tl tgl,fil Tagalog,Filipino
tn tsn Tswana,Setswana; to ton Tongan; tr tur Turkish; ts tso Tsonga; tt tat Tatar; tw twi Twi
ty tah Tahitian; ug uig Uighur,Uyghur; uk ukr Ukrainian; ur urd Urdu; uz uzb,uzn Uzbek
ve ven Venda; vi vie Vietnamese; vo vol Volapük; wa wln Walloon; wo wol Wolof; xh xho Xhosa
yi yid,ydd Yiddish; yo yor Yoruba; za zha Zhuang; zh zho,chi,cmn,cn Chinese,Mandarin; zu zul Zulu
ace - Acehnese; acm - Mesopotamian Arabic; acq - Ta'izzi-Adeni Arabic; aeb - Tunisian Arabic
ajp - South Levantine Arabic; apc - North Levantine Arabic,Levantine Arabic; ars - Najdi Arabic
ary - Moroccan Arabic; arz - Egyptian Arabic; ast - Asturian; awa - Awadhi
azb - South Azerbaijani; ban - Balinese; bem - Bemba; bho - Bhojpuri; bjn - Banjar
bug - Buginese; ceb - Cebuano; cjk - Chokwe; ckb - Central Kurdish,Sorani; crh - Crimean Tatar
dik - Southwestern Dinka; dyu - Dyula; fon - Fon; fur - Friulian; hne - Chhattisgarhi
ilo - Ilocano; kab - Kabyle; kac - Jingpho; kam - Kamba; kbp - Kabiyè; kea - Kabuverdianu
kmb - Kimbundu; lij - Ligurian; liv - Livonian; lmo - Lombard; ltg - Latgalian; lua - Luba-Kasai
luo - Luo; lus - Mizo; mag - Magahi; mai - Maithili; mas - Maasai; min - Minangkabau
mni - Meitei,Manipuri; mnw - Mon; mos - Mossi; nso - Northern Sotho,Sepedi; nus - Nuer
pag - Pangasinan; pap - Papiamento; prs - Dari; sah - Yakut,Sakha; sat - Santali; scn - Sicilian
shn - Shan; szl - Silesian; taq - Tamasheq; tpi - Tok Pisin; tum - Tumbuka
tzm - Central Atlas Tamazight; umb - Umbundu; vec - Venetian; war - Waray
cdo - Min Dong; cjy - Jin Chinese; gan - Gan Chinese; hak - Hakka,Hakka Chinese
hsn - Xiang Chinese; lzh - Classical Chinese,Literary Chinese; mnp - Min Bei
nan - Min Nan,Hokkien,Taiwanese; wuu - Wu Chinese,Shanghainese; yue - Cantonese,Yue Chinese
"""
TABLE = [entry.split(maxsplit=2) for entry in re.split(r";|\n", LANGUAGES.strip())]
CODES = {code: first for first, others, _ in TABLE for code in (first, *others.split(","))}
NAMES = {
    name.casefold().replace("-", " "): first
    for first, _, names in TABLE
    for name in names.split(",")
}

# Scripts without spaces between words, and Korean's: sacreBLEU's tokenizer for each. It has none
# for those of Southeast Asia and Tibet, so that their characters are counted.
TOKENIZERS = (
    dict.fromkeys(("Hani", "Hans", "Hant", "Bopo"), "zh")
    | dict.fromkeys(("Jpan", "Hira", "Kana", "Hrkt"), "ja-mecab")
    | dict.fromkeys(("Kore", "Hang"), "ko-mecab")
    | dict.fromkeys(("Thai", "Laoo", "Khmr", "Mymr", "Tibt"), "char")
)
SCRIPTS = dict.fromkeys(
    ("zh", "cdo", "cjy", "gan", "hak", "hsn", "lzh", "mnp", "nan", "wuu", "yue"), "Hani"
) | {
    "ja": "Jpan",
    "ko": "Kore",
    "th": "Thai",
    "lo": "Laoo",
    "km": "Khmr",
    "my": "Mymr",
    "shn": "Mymr",
    "mnw": "Mymr",
    "bo": "Tibt",
    "dz": "Tibt",
}  # of a language whose script is not named
SPACED = re.compile(  # the other scripts of FLORES-200
    "Arab|Armn|Beng|Cyrl|Deva|Ethi|Geor|Grek|Gujr|Guru|Hebr|Knda|Latn|Mlym|Olck|Orya|Sinh|Taml|Telu"
    "|Tfng"
)
VARIANTS = {"simplified": "Hans", "traditional": "Hant"}
MECAB = {"ja-mecab": "MeCab", "ko-mecab": "mecab_ko"}  # the module that each needs

SUBTAG = re.compile(r"[a-z]{2,3}|\d{3}")  # a region, or a language of a group, as in zh-yue
FLORES = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")  # the names of its files begin with the language
# Not a pair of languages, though both are codes of one.
REGIONAL = re.compile("zh-(tw|sg)|ko-kr|lo-la|(ms|en)-my|(es|qu|ay)-bo|(ar|fr)-dz|pt-br")

# Unicode's names of the scripts without spaces between words; Tibetan has dots between syllables
UNSPACED_WORDS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
UNSPACED = (*UNSPACED_WORDS, "Tibetan")


class Language(NamedTuple):
    """A language, and the script that it is written in."""

    code: str
    """ISO 639-1 where there is one, else ISO 639-3."""
    script: str
    """ISO 15924, as it was named, else the usual one if it has no spaces; "" otherwise."""


def find_language(name: str) -> Language | None:
    """Return the language that a code or an English name stands for, None if none is known.

    Case is ignored, and `-` is as good as `_`. Behind a code may stand a script and a region.
    """
    first, *rest = re.findall(r"[^\W_]+", re.split(r"[.@]", name.casefold())[0]) or [""]
    script = next((one for one in map(_script, rest) if one), "")
    if first in CODES and all(_script(one) or SUBTAG.fullmatch(one) for one in rest):
        code = next((one for one in rest if one in SCRIPTS and len(one) == 3), CODES[first])
    else:
        named = {NAMES[word] for word in (first, *rest) if word in NAMES}
        code = NAMES.get(" ".join([first, *rest]), "") or (named.pop() if len(named) == 1 else "")
    if not code and not (script and len(first) == 3):
        return None
    return Language(code or first, script or SCRIPTS.get(code, ""))


def _script(word: str) -> str:
    """Return the script that a part of a language's name stands for, "" if none."""
    if word in VARIANTS:
        return VARIANTS[word]
    title = word.title()
    return title if title in TOKENIZERS or SPACED.fullmatch(title) else ""


def file_language(path: str) -> str:
    """Return the language that a file's name has as a suffix, as in ref.zh.gz; "" if it has none.

    Of a pair, such as en-zh, it is the second. FLORES-200's name is known too: zho_Hans.devtest.
    """
    stem, *suffixes = Path(path).name.split(".")
    for suffix in reversed(suffixes):
        source, *target = re.split("[-_]", suffix, maxsplit=1)
        codes = {source, *(re.split("[-_]", one)[0] for one in target)}
        regional = REGIONAL.fullmatch(suffix.replace("_", "-"))
        if target and codes <= CODES.keys() and find_language(target[0]) and not regional:
            return target[0]
        if find_language(suffix):
            return suffix
    return stem if FLORES.fullmatch(stem) and find_language(stem) else ""


def target_language(corpus: Corpus, data: Data) -> str:
    """Return the language of a corpus's targets: its own, else data.target, else the file's.

    The first that is known counts; if none is, the first that is given.
    """
    own = {one.languages[1] if one.languages else "" for one in corpus.sources}
    files = {one.target.path if one.target else "" for one in corpus.sources}
    suffixes = set(map(file_language, files))
    named = [one.pop() if len(one) == 1 else "" for one in (own, suffixes)]
    choices = [named[0], data.target, named[1]]
    return next(filter(find_language, choices), named[0] or data.target)


def tokenizer_of(language: str) -> str:
    """Return sacreBLEU's tokenizer for a language, installed or not: 13a for all with spaces."""
    found = find_language(language)
    return TOKENIZERS.get(found.script, "13a") if found else "13a"


def bleu_tokenizer(language: str) -> str:
    """Return the name of sacreBLEU's tokenizer for a language that can be used here.

    Japanese and Korean are cut by MeCab, and by characters where it is not installed.
    """
    tokenizer = tokenizer_of(language)
    return "char" if lacks_mecab(tokenizer) else tokenizer


def lacks_mecab(tokenizer: str) -> bool:
    """Whether a tokenizer needs a module that is not installed."""
    return tokenizer in MECAB and not find_spec(MECAB[tokenizer])


def has_chinese_characters(language: str) -> bool:
    """Whether words of a language are not told apart by spaces, and TER has characters for it."""
    return tokenizer_of(language) in ("zh", "ja-mecab")


def closest_code(language: str, choices: Sequence[str]) -> str | None:
    """Return the one of some codes that stands for a language; None if there is none."""
    if language in choices:
        return language
    found = find_language(language)
    return found.code if found and found.code in choices else None
