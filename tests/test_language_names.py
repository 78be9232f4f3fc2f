"""The laws of languages' names: whatever a language is called, its words are the same."""

import pytest
from sacrebleu.dataset import DATASETS

from seq2seq.config import Corpus, Data
from seq2seq.text.languages import (
    TOKENIZERS,
    closest_code,
    file_language,
    find_language,
    target_language,
    tokenizer_of,
)

NAMES_OF_FLORES = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab
arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn
bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn
bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn
dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn fij_Latn
fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr
hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn
isl_Latn ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor
kaz_Cyrl kbp_Latn kea_Latn khk_Cyrl khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kmr_Latn knc_Arab
knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn
lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Arab min_Latn
mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nso_Latn
nus_Latn nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn pol_Latn
por_Latn prs_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr
sin_Sinh slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl
ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn tam_Taml taq_Latn taq_Tfng tat_Cyrl tel_Telu tgk_Cyrl
tgl_Latn tha_Thai tir_Ethi tpi_Latn tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng
uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr
yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn
"""
FLORES = NAMES_OF_FLORES.split()


@pytest.mark.parametrize("name", FLORES)
def test_every_language_of_flores_is_known_and_its_script_decides(name):
    code, script = name.split("_")
    assert find_language(name).script == script
    assert tokenizer_of(name) == TOKENIZERS.get(script, "13a")
    assert find_language(code).code == find_language(name).code
    if script in TOKENIZERS:  # nobody needs to name it
        assert tokenizer_of(code) == tokenizer_of(name)


def test_flores_has_204_languages():
    assert len({*FLORES}) == 204


def test_every_language_of_sacrebleus_test_sets_is_known():
    pairs = {pair for one in DATASETS.values() for pair in one.langpairs}
    codes = {code for pair in pairs for code in pair.split("-")}
    assert len(codes) > 30
    assert not [code for code in codes if find_language(code) is None]
    unspaced = {code: tokenizer_of(code) for code in codes if tokenizer_of(code) != "13a"}
    assert unspaced == {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab", "km": "char"}


@pytest.mark.parametrize(
    ("tokenizer", "names"),
    [
        ("zh", "zh zho chi cmn ZH-cn zh_TW zh-Hant-HK cmn_Hans zh_CN.UTF-8 Chinese chinese cn"),
        ("zh", "yue wuu nan hak zh-yue zh-min-nan wuu_Hans cjy_Hant Cantonese"),
        ("ja-mecab", "ja jpn JA ja-JP ja_XX jpn_Jpan Japanese JAPANESE jp"),
        ("ko-mecab", "ko kor ko_KR kor_Hang Korean"),
        ("char", "th tha Thai lo lao km khm my mya bur my_MM Burmese bo bod tib Tibetan dz shn"),
        ("13a", "jav jv zsm ms kac min cjk tok sql source digits my_data deu German zh-Latn"),
        ("13a", "nan_Latn dng_Cyrl vi x chnese"),
    ],
)
def test_names_of_a_language_are_one(tokenizer, names):
    assert {tokenizer_of(name) for name in names.split()} == {tokenizer}


@pytest.mark.parametrize(
    "name",
    ["Chinese (Simplified)", "Simplified Chinese", "Mandarin Chinese", "chinese_traditional"],
)
def test_names_of_several_words(name):
    assert tokenizer_of(name) == "zh"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("de", "de deu ger deu_Latn de_DE German"),
        ("ms", "ms msa may zsm Malay"),
        ("nb", "nb nob nob_Latn Norwegian_Bokmål"),
        ("pt", "pt-BR por Brazilian_Portuguese"),
        ("ar", "ar ara arb_Arab Arabic Modern_Standard_Arabic"),
        ("arz", "arz Egyptian_Arabic"),
    ],
)
def test_a_code_is_of_iso_639_1_where_there_is_one(code, names):
    assert {find_language(name).code for name in names.split()} == {code}
    assert {closest_code(name, ["xx", code]) for name in names.split()} == {code}
    assert closest_code(code, ["xx"]) is None


@pytest.mark.parametrize(
    ("file", "language"),
    [
        ("x.zh", "zh"),
        ("there.ja/ref.zh.gz", "zh"),
        ("ref.zh_TW.txt", "zh_TW"),
        ("newstest2019-ref.zho-CN.txt", "zho-CN"),
        ("zho_Hans.devtest", "zho_Hans"),
        ("hyp.en-zh", "zh"),
        ("hyp.ja-en.txt", "en"),
        ("ref.zh-tw", "zh-tw"),
        ("ref.Japanese", "Japanese"),
        ("my.hyp.txt", ""),
        ("lo", ""),
        ("hypotheses.txt", ""),
    ],
)
def test_a_file_says_its_language_behind_its_name(file, language):
    assert file_language(file) == language


@pytest.mark.parametrize(
    ("target", "corpus", "language"),
    [
        ("de", {"path": "a.{lang}"}, "de"),
        ("de", {"path": "a.{lang}", "languages": ["en", "zho_Hans"]}, "zho_Hans"),
        ("zh", {"path": "a.{lang}", "languages": ["source", "target"]}, "zh"),
        ("words", {"source": "a.en", "target": "a.ja"}, "ja"),
        ("de", {"source": "a.en", "target": "a.ja"}, "de"),
        ("words", {"source": "a", "target": "b"}, "words"),
        ("zh", {"parts": [{"path": "a.{lang}"}, {"path": "b.{lang}"}]}, "zh"),
        ("de", {"parts": [{"path": "a.tsv", "languages": ["en", "ja"]}] * 2}, "ja"),
    ],
)
def test_a_corpus_knows_its_language_before_the_data(target, corpus, language):
    data = Data.model_construct(source="en", target=target)
    assert target_language(Corpus.model_validate(corpus), data) == language


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("t.en_zh", "zh"),
        ("t.en-zh_CN", "zh_CN"),
        ("t.en-zh", "zh"),
        ("t.zh_CN", "zh_CN"),
        ("t.zho_Hans", "zho_Hans"),
        ("t.zh-tw", "zh-tw"),
        ("t.de", "de"),
    ],
)
def test_a_pair_in_a_name_means_its_target(name, language):
    assert file_language(name) == language
