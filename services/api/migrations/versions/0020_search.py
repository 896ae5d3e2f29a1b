"""Search identifiers and their parts, any script, and any writing of a word.

The functions depend on no locale, extension or file of the server, so they also work on managed servers:
`search_encode` replaces what is not ASCII by ASCII before the parser of PostgreSQL reads it. Revision: 0020
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

MARKS = (
    # Accents and points after the decomposition, joiners, marks of the direction, variation selectors.
    r"\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u061c\u0640\u064b-\u065f\u0670"
    r"\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u200c-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\ufe00-\ufe0f"
    r"\ufe20-\ufe2f\ufeff\U000e0000-\U000e0fff"
)
SEPARATORS = (
    # The categories P, S, Z and Cc of Unicode 15.1, and the zero width space. Pictographs are words.
    r"\u0080-\u00a9\u00ab-\u00ac\u00ae-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u02c2-\u02c5"
    r"\u02d2-\u02df\u02e5-\u02eb\u02ed\u02ef-\u02ff\u0375\u037e\u0384-\u0385\u0387\u03f6\u0482\u055a-\u055f"
    r"\u0589-\u058f\u05be\u05c0\u05c3\u05c6\u05f3-\u05f4\u0606-\u060f\u061b\u061d-\u061f\u066a-\u066d\u06d4"
    r"\u06de\u06e9\u06fd-\u06fe\u0700-\u070d\u07f6-\u07f9\u07fe-\u07ff\u0830-\u083e\u085e\u0888\u0964-\u0965"
    r"\u0970\u09f2-\u09f3\u09fa-\u09fb\u09fd\u0a76\u0af0-\u0af1\u0b70\u0bf3-\u0bfa\u0c77\u0c7f\u0c84\u0d4f"
    r"\u0d79\u0df4\u0e3f\u0e4f\u0e5a-\u0e5b\u0f01-\u0f17\u0f1a-\u0f1f\u0f34\u0f36\u0f38\u0f3a-\u0f3d\u0f85"
    r"\u0fbe-\u0fc5\u0fc7-\u0fda\u104a-\u104f\u109e-\u109f\u10fb\u1360-\u1368\u1390-\u1399\u1400"
    r"\u166d-\u166e\u1680\u169b-\u169c\u16eb-\u16ed\u1735-\u1736\u17d4-\u17d6\u17d8-\u17db\u1800-\u180a"
    r"\u1940-\u1945\u19de-\u19ff\u1a1e-\u1a1f\u1aa0-\u1aa6\u1aa8-\u1aad\u1b5a-\u1b6a\u1b74-\u1b7e"
    r"\u1bfc-\u1bff\u1c3b-\u1c3f\u1c7e-\u1c7f\u1cc0-\u1cc7\u1cd3\u1fbd\u1fbf-\u1fc1\u1fcd-\u1fcf"
    r"\u1fdd-\u1fdf\u1fed-\u1fef\u1ffd-\u200b\u2010-\u2029\u202f-\u205f\u207a-\u207e\u208a-\u208e"
    r"\u20a0-\u20c0\u2100-\u2101\u2103-\u2106\u2108-\u2109\u2114\u2116-\u2118\u211e-\u2123\u2125\u2127\u2129"
    r"\u212e\u213a-\u213b\u2140-\u2144\u214a-\u214d\u214f\u218a-\u244a\u249c-\u24e9\u2500-\u25ff"
    r"\u27c0-\u2bff\u2ce5-\u2cea\u2cf9-\u2cfc\u2cfe-\u2cff\u2d70\u2e00-\u2e2e\u2e30-\u3004\u3008-\u3020"
    r"\u3030\u3036-\u3037\u303d-\u303f\u309b-\u309c\u30a0\u30fb\u3190-\u3191\u3196-\u319f\u31c0-\u31e3"
    r"\u3200-\u321e\u322a-\u3247\u3250\u3260-\u327f\u328a-\u32b0\u32c0-\u33ff\u4dc0-\u4dff\ua490-\ua4c6"
    r"\ua4fe-\ua4ff\ua60d-\ua60f\ua673\ua67e\ua6f2-\ua716\ua720-\ua721\ua789-\ua78a\ua828-\ua82b"
    r"\ua836-\ua839\ua874-\ua877\ua8ce-\ua8cf\ua8f8-\ua8fa\ua8fc\ua92e-\ua92f\ua95f\ua9c1-\ua9cd"
    r"\ua9de-\ua9df\uaa5c-\uaa5f\uaa77-\uaa79\uaade-\uaadf\uaaf0-\uaaf1\uab5b\uab6a-\uab6b\uabeb\ufb29"
    r"\ufbb2-\ufbc2\ufd3e-\ufd4f\ufdcf\ufdfc-\ufdff\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff0f\uff1a-\uff20"
    r"\uff3b-\uff40\uff5b-\uff65\uffe0-\uffee\ufffc-\ufffd"
)
UNSPACED = (
    # Scripts that are written without blanks between words (Thai, Lao, Myanmar, Khmer, Chinese, Japanese), Korean,
    # whose words end with particles, and pictographs.
    r"\u0e01-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2600-\u27bf\u3005-\u3007\u3031-\u3035\u3041-\u312f"
    r"\u3131-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U0001f000-\U0001faff"
    r"\U00020000-\U0003ffff"
)
INDEXED_MAX = 30_000
"""Characters of a text with other scripts, of 28 bytes each: the lexemes of one issue have at most 1 MB."""
LETTERS = (
    *(("ß", "ss"), ("ẞ", "SS"), ("æ", "ae"), ("Æ", "AE"), ("œ", "oe"), ("Œ", "OE"), ("ø", "o"), ("Ø", "O")),
    *(
        ("ł", "l"),
        ("Ł", "L"),
        ("đ", "d"),
        ("Đ", "D"),
        ("ð", "d"),
        ("Ð", "D"),
        ("þ", "th"),
        ("Þ", "TH"),
        ("\u0131", "i"),
    ),
    *(("ħ", "h"), ("Ħ", "H"), ("ŧ", "t"), ("Ŧ", "T"), ("ς", "\u03c3")),
)
"""Letters that have no decomposition, as in the rules of the extension unaccent."""

JOINERS = r"-._/:@#+\\"
"""Characters that join the parts of an identifier, for a character class."""
ASIDE = r"[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]*"
"""ASCII characters beside an identifier, without a blank."""
BLANKED = "-._/:@<>&+~\\%=#"
"""ASCII characters that the parser would not treat as separators, because they can belong to hosts, paths and tags."""

ENDINGS = (
    *("s", "es", "ed", "d", "ing", "ings", "er", "ers", "ly", "y", "ies", "ied", "e", "ion", "ions", "ation"),
    *("ations", "ments", "ness", "able", "ible", "ability", "ibility", "ity", "ities", "al", "ally", "ive", "ize"),
    *("ized", "izing", "izes", "izer", "ise", "ised", "ising", "ous", "ful", "ism", "ance", "ence"),
)
"""What may follow a typed prefix, from any of its letters on."""


def _replace(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = f"replace({text}, '{old}', '{new}')"
    return text


def _blank(text: str) -> str:
    # `translate` and a regular expression cost ten times as much.
    return _replace(text, tuple((character, " ") for character in BLANKED))


def _completions() -> str:
    whole = {*ENDINGS, *(ending.removesuffix("s") for ending in ENDINGS if len(ending) > 1)}
    endings = {ending[cut:] for ending in whole for cut in range(len(ending))}
    endings |= {f"{letter}{ending}" for letter in "bdgklmnprt" for ending in ("ing", "ed", "er")}
    return ", ".join(f"'{ending}'" for ending in sorted(endings))


# Identifiers are matched as stems with their stop words, the rest as the configuration `english` does.
CONFIGURATION = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_ts_config WHERE cfgname = 'search_parts' AND pg_ts_config_is_visible(oid)) THEN
        CREATE TEXT SEARCH DICTIONARY search_stem (TEMPLATE = pg_catalog.snowball, LANGUAGE = english);
        CREATE TEXT SEARCH CONFIGURATION search_parts (COPY = pg_catalog.simple);
        ALTER TEXT SEARCH CONFIGURATION search_parts ALTER MAPPING FOR asciiword WITH search_stem;
    END IF;
END $$
"""
# The default collation may be C, which lowers only ASCII. The first of these that the server has lowers every script.
LOWER = """
DO $$
DECLARE
    collation_name text;
BEGIN
    SELECT quote_ident(collname) INTO collation_name FROM pg_collation
    WHERE collnamespace = 'pg_catalog'::regnamespace AND collencoding IN (-1, pg_char_to_encoding('UTF8'))
        AND collname IN ('pg_c_utf8', 'und-x-icu', 'C.utf8', 'C.UTF-8', 'en_US.utf8')
    ORDER BY array_position(ARRAY['pg_c_utf8', 'und-x-icu', 'C.utf8', 'C.UTF-8', 'en_US.utf8'], collname::text)
    LIMIT 1;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION search_lower(given text) RETURNS text '
        'LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $body$ SELECT lower(given COLLATE %s) $body$',
        coalesce('pg_catalog.' || collation_name, 'pg_catalog."default"')
    );
END $$
"""
FOLD = f"""
CREATE OR REPLACE FUNCTION search_fold(given text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    folded text;
BEGIN
    IF octet_length(given) = char_length(given) THEN
        RETURN given;
    END IF;
    folded := regexp_replace(normalize(given, NFKD), '[{MARKS}]+', '', 'g');
    folded := regexp_replace(folded, '[{SEPARATORS}]+', ' ', 'g');
    IF octet_length(folded) > char_length(folded) THEN
        folded := left(normalize(folded, NFC), {INDEXED_MAX});
        folded := {_replace("folded", LETTERS)};
    END IF;
    RETURN folded;
END $$
"""
# A run of an unspaced script becomes its pairs of characters; its last character, or the only one, is found by a
# prefix. Each byte that is not ASCII becomes a letter and two digits, so that a prefix stays a prefix.
ENCODE = f"""
CREATE OR REPLACE FUNCTION search_encode(folded text, is_query boolean) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    encoded text;
BEGIN
    IF octet_length(folded) = char_length(folded) THEN
        RETURN folded;
    END IF;
    encoded := search_lower(folded);
    IF encoded ~ '[{UNSPACED}]' THEN
        encoded := regexp_replace(encoded, '([{UNSPACED}]+)', ' \\1 ', 'g');
        encoded := regexp_replace(encoded, '(?<=[{UNSPACED}])([{UNSPACED}])', '\\1 \\1', 'g');
        IF is_query THEN
            -- The run may go on after the last character.
            encoded := regexp_replace(encoded, '([{UNSPACED}]) \\1 *$', '\\1');
            encoded := regexp_replace(encoded, '(^| )([{UNSPACED}]) *$', '\\1\\2*');
        END IF;
    END IF;
    RETURN replace(replace(encode(convert_to(encoded, 'UTF8'), 'escape'), '\\3', 'y'), '\\2', 'w');
END $$
"""
SPLIT = """
CREATE OR REPLACE FUNCTION search_split(identifiers text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT regexp_replace(
        regexp_replace(identifiers, '([a-z0-9])([A-Z])', '\\1~\\2', 'g'), '([A-Z])([A-Z][a-z])', '\\1~\\2', 'g'
    )
$$
"""
WITHOUT_VERSIONS = _blank(r"regexp_replace(identifiers, '[0-9]+(?:\.[0-9]+)+', ' ', 'g')")

# `NullPointerException` is found by each of its parts, by `nullpointer` and by `pointerexception`; 20.11.1 by 20.11.
VECTOR = f"""
CREATE OR REPLACE FUNCTION search_vector(given text, weight "char") RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    is_ascii boolean := octet_length(given) = char_length(given);
    folded text := CASE WHEN is_ascii THEN given ELSE search_fold(given) END;
    blanked text := {_blank("folded")};
    lexemes tsvector := to_tsvector(
        'pg_catalog.english', CASE WHEN is_ascii THEN blanked ELSE search_encode(blanked, false) END
    );
    identifiers text;
    words text;
    versions text;
    parts text := '';
BEGIN
    -- The test costs a tenth of the query, and most titles have no identifier.
    IF folded ~ '[A-Za-z0-9][{JOINERS}]{{1,3}}[A-Za-z0-9]|[a-z0-9][A-Z]|[A-Z][A-Z][a-z]' THEN
        SELECT string_agg(matched[1], ' ') INTO identifiers FROM regexp_matches(
            folded,
            '([A-Za-z0-9]+(?:[{JOINERS}]{{1,3}}[A-Za-z0-9]+)+|[A-Za-z0-9]*(?:[a-z0-9][A-Z]|[A-Z][A-Z][a-z])[A-Za-z0-9]*)',
            'g'
        ) matched;
        parts := search_split(identifiers);
        IF parts <> identifiers THEN
            SELECT string_agg(matched[1], ' ') INTO words
            FROM regexp_matches(parts, '([A-Za-z0-9]+~[A-Za-z0-9~]+)', 'g') matched;
            parts := concat_ws(
                ' ',
                parts,
                replace(regexp_replace(words, '~[A-Za-z0-9]+( |$)', '\\1', 'g'), '~', ''),
                replace(regexp_replace(words, '~[A-Za-z0-9]+~[A-Za-z0-9]+( |$)', '\\1', 'g'), '~', ''),
                replace(regexp_replace(words, '(^| )[A-Za-z0-9]+~', '\\1', 'g'), '~', '')
            );
        END IF;
        parts := {_blank("parts")};
        IF identifiers ~ '[0-9]\\.[0-9]' THEN
            SELECT string_agg('v' || replace(matched[1], '.', 'z'), ' ') INTO versions
            FROM regexp_matches(identifiers, '([0-9]+(?:\\.[0-9]+)+)', 'g') matched;
            parts := concat_ws(
                ' ',
                parts,
                {WITHOUT_VERSIONS},
                versions,
                regexp_replace(versions, 'z[0-9]+( |$)', '\\1', 'g'),
                regexp_replace(versions, 'z[0-9]+z[0-9]+( |$)', '\\1', 'g'),
                regexp_replace(versions, 'z[0-9]+z[0-9]+z[0-9]+( |$)', '\\1', 'g')
            );
        END IF;
        lexemes := to_tsvector('search_parts', parts) || lexemes;
    END IF;
    RETURN setweight(lexemes, weight);
END $$
"""
# A term is a word, an identifier or a quoted phrase; its operators are removed before. An identifier is also found
# as a whole word, as in `nullpointerexception`. Without any word but common ones the query is empty.
QUERY = f"""
CREATE OR REPLACE FUNCTION search_query(given text, is_prefix boolean) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    folded text := search_fold(given);
    is_identifier boolean;
    configuration regconfig;
    version text;
    piece text;
    result tsquery := '';
BEGIN
    IF folded ~ '[0-9]\\.[0-9]' THEN
        -- One lexeme, because single numbers are frequent.
        FOR version IN SELECT matched[1] FROM regexp_matches(folded, '([0-9]+(?:\\.[0-9]+)+)', 'g') matched LOOP
            result := result && to_tsquery(
                'pg_catalog.simple',
                'v' || replace(version, '.', 'z') || CASE WHEN is_prefix THEN ':*' ELSE '' END
            );
        END LOOP;
        IF folded ~ '^[^A-Za-z0-9]*[vV]?[0-9]+(\\.[0-9]+)+[^A-Za-z0-9]*$' THEN
            RETURN result;
        END IF;
        IF folded !~ ' ' THEN
            -- The word before a version, as in `rc1.2`, is no part of the phrase before it.
            FOR piece IN SELECT regexp_split_to_table(
                regexp_replace(
                    folded, '(?<![A-Za-z0-9])([A-Za-z0-9]*[A-Za-z])?[0-9]+(?:\\.[0-9]+)+', ' \\1 ', 'g'
                ), ' '
            ) LOOP
                result := result && CASE WHEN piece IN ('v', 'V') THEN '' ELSE search_query(piece, false) END;
            END LOOP;
            RETURN result;
        END IF;
    END IF;
    IF folded ~ '^[0-9]+$' THEN
        RETURN to_tsquery('pg_catalog.simple', replace('N | vN', 'N', folded || CASE WHEN is_prefix THEN ':*' ELSE '' END));
    END IF;
    folded := btrim(folded);
    is_identifier := folded ~ '^{ASIDE}[A-Za-z0-9]+([{JOINERS}]{{1,3}}[A-Za-z0-9]+)+{ASIDE}$';
    configuration := CASE WHEN is_identifier THEN 'search_parts' ELSE 'pg_catalog.english' END;
    IF search_split(folded) <> folded AND folded !~ ' ' AND NOT is_prefix THEN
        RETURN result && (
            search_phrase(configuration, folded, false)
                || search_phrase('search_parts', replace(search_split(folded), '~', ' '), false)
        );
    END IF;
    RETURN result && search_phrase(configuration, folded, is_prefix);
END $$
"""
PHRASE = f"""
CREATE OR REPLACE FUNCTION search_phrase(configuration regconfig, folded text, is_prefix boolean) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    words text[];
    last_word text;
    stems text;
    result tsquery := '';
BEGIN
    words := regexp_split_to_array(
        btrim(search_encode(regexp_replace(folded, '[\\x01-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7f]+', ' ', 'g'), true)),
        ' +'
    );
    IF words[1] = '' THEN
        RETURN result;
    END IF;
    IF is_prefix THEN
        last_word := rtrim(lower(words[cardinality(words)]), '*');
        words := trim_array(words, 1);
    END IF;
    IF cardinality(words) > 0 THEN
        result := to_tsquery(configuration, replace(array_to_string(words, ' <-> '), '*', ':*'));
    END IF;
    IF last_word IS NOT NULL THEN
        -- A prefix may be longer than the stem of the word: `runni*` also finds `running`, whose stem is `run`.
        SELECT string_agg(DISTINCT ' | ' || stem, '') INTO stems
        FROM unnest(ARRAY[{_completions()}]) ending, unnest(ts_lexize('pg_catalog.english_stem', last_word || ending)) stem
        WHERE last_word ~ '^[a-z]{{3,}}$' AND length(stem) > 2 AND NOT starts_with(stem, last_word)
            AND starts_with(last_word, left(stem, -1));
        result := result <-> to_tsquery('pg_catalog.simple', last_word || ':*' || coalesce(stems, ''));
    END IF;
    RETURN result;
END $$
"""
ON_CHANGE = """
CREATE OR REPLACE FUNCTION issue_lexemes() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.lexemes := search_vector(NEW.title, 'A') || search_vector(NEW.description, 'B');
    RETURN NEW;
END $$
"""
BEFORE = """
CREATE OR REPLACE FUNCTION issue_lexemes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lexemes := setweight(to_tsvector('english', NEW.title), 'A')
        || setweight(to_tsvector('english', NEW.description), 'B');
    RETURN NEW;
END $$
"""
ANNOUNCE_BEFORE = """
CREATE OR REPLACE FUNCTION announce_issue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event (kind, issue_id) VALUES (
        CASE WHEN TG_OP = 'INSERT' THEN 'issue.created'
            WHEN NEW.deleted_at IS NOT NULL THEN 'issue.deleted'
            ELSE 'issue.changed' END,
        NEW.id
    );
    RETURN NULL;
END $$
"""
UNLESS_REWRITING = """\
BEGIN
    IF current_setting('issuetracker.is_rewriting', true) = 'on' THEN
        RETURN NULL;
    END IF;
"""
ANNOUNCE = ANNOUNCE_BEFORE.replace("BEGIN\n", UNLESS_REWRITING).replace(
    "plpgsql AS", "plpgsql SET search_path = public, pg_temp AS"
)
# In batches, so that locks are short. Requests and the search go on; until its turn, an issue is found by its words,
# as before. Only the lexemes change, so no event is written.
REWRITE = """
DO $$
DECLARE
    after uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        PERFORM set_config('issuetracker.is_rewriting', 'on', true);
        WITH old AS (SELECT id FROM issue WHERE id > after ORDER BY id LIMIT 500), rewritten AS (
            UPDATE issue SET lexemes = search_vector(title, 'A') || search_vector(description, 'B')
            FROM old WHERE issue.id = old.id
        )
        SELECT id INTO after FROM old ORDER BY id DESC LIMIT 1;
        EXIT WHEN after IS NULL;
        COMMIT;
    END LOOP;
END $$
"""
FUNCTIONS = (
    *("search_query(text, boolean)", "search_phrase(regconfig, text, boolean)", 'search_vector(text, "char")'),
    *("search_split(text)", "search_encode(text, boolean)", "search_fold(text)", "search_lower(text)"),
)


def upgrade() -> None:
    # Repeatable after an interruption, because the autocommit block below commits each statement.
    for statement in (CONFIGURATION, LOWER, FOLD, ENCODE, SPLIT, VECTOR, PHRASE, QUERY):
        op.execute(statement)
    op.execute(ANNOUNCE)
    op.execute(ON_CHANGE)
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_issue_external_id")
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_issue_external_id ON issue (external_id, created_at, id) "
            "WHERE external_id IS NOT NULL AND deleted_at IS NULL"
        )
        op.execute(REWRITE)
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '4s'")


def downgrade() -> None:
    # The lexemes stay: the earlier release finds ASCII words by them, and all words of an issue after its next change.
    op.drop_index("ix_issue_external_id", table_name="issue")
    op.execute(BEFORE)
    op.execute(ANNOUNCE_BEFORE)
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP TEXT SEARCH CONFIGURATION search_parts")
    op.execute("DROP TEXT SEARCH DICTIONARY search_stem")
