"""Detect the language of cleaned prose. English is not called foreign, and short texts have no language."""
# ruff: noqa: RUF001  letters of other languages

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.language import CONFIDENCE_MIN, LANGUAGES, READ_CHARS, detect_language

ISSUES = {
    "en": "The export is empty when I open the report with more than ten columns, and there is no error.",
    "de": "Der Export ist leer, wenn ich den Bericht mit mehr als zehn Spalten öffne, und es gibt keine Meldung.",
    "fr": "L'export est vide quand j'ouvre le rapport avec plus de dix colonnes, et il n'y a pas de message.",
    "es": "La exportación está vacía cuando abro el informe con más de diez columnas, pero no hay ningún mensaje.",
    "pt": "A exportação está vazia quando abro o relatório com mais de dez colunas, mas não há nenhuma mensagem.",
    "it": "L'esportazione è vuota quando apro il rapporto con più di dieci colonne, ma non c'è nessun messaggio.",
    "nl": "De export is leeg wanneer ik het rapport met meer dan tien kolommen open, maar er is geen melding.",
    "ru": "Экспорт пустой, когда я открываю отчёт, в котором больше десяти столбцов.",
    "zh": "打开超过十列的报表时，导出的文件是空的，也没有任何提示。",
    "ja": "十列を超えるレポートを開くと、エクスポートしたファイルが空になります。",
    "ko": "열이 열 개가 넘는 보고서를 열면 내보낸 파일이 비어 있습니다.",
    "pl": "Eksport jest pusty, gdy otwieram raport, który ma więcej niż dziesięć kolumn, ale nie ma komunikatu.",
    "tr": "Ondan fazla sütunu olan bir rapor açınca dışa aktarma boş oluyor ve hiç hata mesajı yok.",
    "uk": "Експорт порожній, коли я відкриваю звіт, у якому більше десяти стовпців.",
    "sv": "Exporten är tom när jag öppnar rapporten med mer än tio kolumner, men det finns inget meddelande.",
}


@pytest.mark.parametrize("code", ISSUES)
def test_detect_language_of_one_sentence_returns_its_code(code: str) -> None:
    language = detect_language(ISSUES[code])

    assert language is not None
    assert language.code == code
    assert CONFIDENCE_MIN <= language.confidence < 1


@pytest.mark.parametrize(
    "text",
    [
        "The die is cast: man pages, les, des and est are no words of ours, so why was I told to war with it?",
        "Add locale names de, fr, es, it, la and pt-br to the list of languages",
        "The translation of 提交 is missing in the settings dialog, and the button stays empty in this locale",
        "Remove the label »Straße« from the address form because it is shown in the English page as well",
        "es6 modules: import con from por does not work in the main app",
        "Rename La Plata, El Paso and Los Angeles in the list of cities",
        "Use vue with et al. and the pour plus comment parser",
    ],
)
def test_detect_language_of_english_with_foreign_words_returns_no_other_language(text: str) -> None:
    language = detect_language(text)

    assert language is None or language.code == "en"


@pytest.mark.parametrize(
    "text", ["", "Login", "NullPointerException", "v2.14.0 docker-compose.yml", "12345", "🎉🎉🎉"]
)
def test_detect_language_of_short_text_returns_none(text: str) -> None:
    assert detect_language(text) is None


@given(st.text(max_size=500))
def test_detect_language_of_any_text_returns_a_listed_language_or_none(text: str) -> None:
    language = detect_language(text)

    assert language == detect_language(text)
    assert language is None or (language.code in LANGUAGES and CONFIDENCE_MIN <= language.confidence < 1)


@pytest.mark.parametrize("pattern", ["a'", "ä", "界", "é ", "der ", "'", " "])
def test_detect_language_of_long_text_reads_its_first_characters_only(pattern: str) -> None:
    text = pattern * (1_000_000 // len(pattern))

    assert detect_language(text) == detect_language(text[:READ_CHARS])


def test_languages_are_those_with_an_example() -> None:
    assert set(ISSUES) == LANGUAGES
