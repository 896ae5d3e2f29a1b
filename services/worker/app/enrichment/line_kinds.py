"""Classifies lines as code, log, trace, form or prose.

All patterns match at most `LOOKED_AT` characters of one line, and are anchored or bounded. The time is therefore
linear in any text.
"""

import re
from typing import Final

LOOKED_AT: Final = 400

_TRACE = re.compile(
    r"at\s+(?:async\s+)?[\w$.<>\[\]/@:#\\-]{1,200}\s?\(|at\s+\S{1,300}:\d+|File \"|Traceback\b|Caused by:|"
    r"Call Trace|"
    r"#\d+:?\s+(?:0x|/|\{main\}|\S{1,200}\(|[\w\\]{1,100}(?:->|::))|\.\.\. \d+ more|in \S+ on line \d+|"
    r"in [\w$.]{1,60} \((?:at|created by) |(?:at|in) [\w$.<>]{1,60}$|(?:in [\w$.]{1,40} ?){3}|"
    r"(?:at [\w$.<>]{1,60} ?){2,9}$|"
    r"(?:PHP )?(?:Fatal error|Parse error|Notice|Warning|Deprecated):\s|"
    r"(?:Component|Call) stack:|Segmentation fault|core dumped|Aborted \("
)
_ERROR = re.compile(
    r"(?:Uncaught |Unhandled |Fatal |PHP |"
    r"\(\w+\) )?(?:[\w.$\\]{1,80}[.\\])?[A-Z]\w{2,60}(?:Error|Exception|Warning)\b:"
)
_LOG = re.compile(
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ,]+\d\d:|\[?\d\d:\d\d:\d\d|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d|\[ *\d+\.\d+\] |"
    r"\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|TRACE|CRITICAL)\b[\]: ]|[EIWDF]\d{4} \d\d:|[$%\u276f\u279c]\s|"
    r"(?:npm|yarn) (?:ERR|WARN|error|warn|info|notice)\b|>>> |\.\.\. |In \[\d*\]:|Out\[\d*\]:|[A-Z]:\\\S{0,200}>|"
    r"PS [A-Z]:\\|\S{1,40}@\S{1,60}[:~]|\d{1,3}(?:\.\d{1,3}){3}\b|\w{1,30}\[\d+\]: |make: |"
    r"(?:GET|POST|PUT|HEAD|DELETE|PATCH) /|(?:error|warning|fatal|info|debug)(?:\[\w{1,10}\])?:\s\S|"
    r"\S{1,200}:\d+(?::\d+)?:\s|0x[0-9a-fA-F]{4,}|[0-9a-f]{16,}\b|(?:---|\+\+\+) [ab]/|@@ |diff --git |HTTP/\d"
)
_CODE = re.compile(
    r"import\s+[\w.{*\"'][\w.]*(?:\s+as\s+\w+|\s*[;,{]|\s+from\s|$)|from\s+['\"\w.]+\s+import\b|"
    r"import .{1,80} from ['\"]|"
    r"(?:async\s+)?def\s+\w+\s?\(|class\s+\w+\s?(?:[(:{]|extends\b)|(?:const|let|var)\s+[\w{\[$][^=]{0,60}=|"
    r"(?:export\s+)?(?:default\s+)?(?:async\s+)?function\b\s*\w{0,60}\s*\(|export\s+(?:default\b|const\b|"
    r"class\b|[A-Z_]+=)|"
    r"#\s?(?:include|define|ifdef|ifndef|endif|pragma)\b|(?:public|private|"
    r"protected)\s+(?:static\s+)?[\w<>$]+\s|<\?|"
    r"(?:els?e? ?if|if|for|while|switch|catch)\s?\([^)]{0,200}\)?\s*(?:\{|$)|(?:else|try|finally)\s*[:{]?$|"
    r"except\b.{0,60}:$|"
    r"(?:if|for|while|with|elif)\s.{1,120}:$|return\b.{0,100}(?:;|\))$|return\s\w{1,40}$|"
    r"(?:sudo|apt|apt-get|brew|pip3?|npm|npx|yarn|pnpm|git|docker|docker-compose|kubectl|cmake|conda|composer|"
    r"curl|wget|"
    r"bazel|cargo|chmod|chown|mkdir|cd|source|alias|python3?|node|php|zsh|bash|bin/\w+|\./[\w./-]+)"
    r"(?:\s+-{1,2}\w|\s+(?:install|run|clone|pull|push|checkout|init|add|build|exec|create|get|apply|i|upgrade|"
    r"update|test|"
    r"config|require|status|commit|merge|rebase|fetch|start|ps)\b(?!\s+(?:is|was|does|did|not|the|fails?)\b)|"
    r"\s+[\w.~$-]*[/\\][\w./~$\\-]*)|"
    r"(?:SELECT|select)\s.{1,200}\s(?:FROM|from)\s|(?:INSERT INTO|CREATE TABLE|ALTER TABLE|DELETE FROM|"
    r"UPDATE \S+ SET)\b|"
    r"@\w+(?:\(|$)|(?:print|echo|console\.\w+|require|assert\w*|super|raise|throw new \w+)\s?\(|"
    r"\$\w+(?:->\w+)*\s*(?:\[[^\]]{0,60}\]\s*)?=|[\w.]{1,80}(?:\[[^\]]{0,60}\])?\s*[-+*/|]?=\s*[\w.\"'\[({$-]\S*$|"
    r"[\w.]{1,60}\s=\s|//|/\*|\*/|[\w.$]{1,80}\([^()]{0,200}\)[;,]?$|</?[a-zA-Z][^<>]{0,200}>?$|"
    r"[.#][\w-]{1,60}\s*\{|"
    r"[\"'][^\"']{1,60}[\"']\s?:\s|--?[\w-]{2,40}[= ]|:{3,}|\\\w+\{|set -|end$"
)
_CODE_END = re.compile(
    r"[;{}]$|[\])},]\s?[;,]$|^[})\]>]+[;,]?$|=>|\)\s?\{|/>$|</\w{1,30}>$|&&|\|\||\\$|->\w+\(|::\w+\(|===?|!==?"
)
_SYMBOLS = str.maketrans("", "", "{}[]()<>=;|\\/$#@&+^~_\"'%:*`!,0123456789.-")
_URL = re.compile(r"https?://\S{1,2000}|\]\([^()\s]{0,500}\)")
_SENTENCE = re.compile(r"[^\W\d_]{2,} [^\W\d_]{1,} [^\W\d_]{2,}")
_RULE = re.compile(r"[\W_]{3,}$")

_CHECKBOX = re.compile(r"(?:[-*+]\s{1,4}|\d+[.)]\s{1,4})?(?:\[[ xX\u2713]?\]|[\u2610\u2611\u2705\u2714])(?:\s|$)")
_FORM_FIELD = re.compile(
    r"(?:[-*+]\s{1,4})?\W{0,2}[\w./()#?&'\u2019,+-]{1,30}(?: [\w./()#?&'\u2019,+-]{1,30}){0,4}\W{0,2}\s?"
    r"[:=]\W{0,2}(?:\s{1,4}\S{1,60}){0,4}$"
)
_SYSTEM_FIELD = re.compile(
    r"(?:[-*+]\s{1,4})?\W{0,2}(?:[\w/.()+-]{1,30} ){0,5}(?:versions?|os|operating system|platform|browsers?|"
    r"python|php|node|"
    r"npm|mysql|mariadb|compiler|architecture|cpu|gpu|memory|processor|device|terminal|theme|shell|distro|"
    r"distribution|kernel|release|commit|revision|build|hash|plugins?|extensions|date|url|locale|type|priority)"
    r"(?: \([^()]{0,80}\))?\W{0,3}[:=]",
    re.IGNORECASE,
)
_SYSTEM_WORDS_TEXT: Final = """
windows win win10 win11 win7 linux ubuntu debian fedora centos arch mac macos macosx osx os x android ios
iphone ipad chrome firefox safari edge opera chromium ie internet explorer brave google mozilla microsoft
apple python php mysql mariadb node nodejs npm yarn zsh ohmyzsh oh my bash version versions ver v bit bits
build release lts pro home enterprise server desktop laptop pc and on or with using the latest stable
nightly beta terminal iterm iterm2 hyper emulator intel amd arm m1 m2 cpu gpu nvidia matomo piwik react vue
bootstrap tensorflow opencv numpy pytorch scikit-learn sklearn scipy cuda cudnn gcc clang java jdk docker
git yes no all any both none other n/a apache nginx wsl wsl2 kernel mobile mojave catalina monterey ventura
sonoma sierra mountain tf core bazel source binary true false html css js dev master main firefox/chrome
"""
_SYSTEM_WORDS: Final = frozenset(_SYSTEM_WORDS_TEXT.split())


def is_code(line: str) -> bool:
    """Return whether a stripped line is code, a command, a log line or part of a stack trace."""
    line = line[:LOOKED_AT]
    if _TRACE.match(line) or _LOG.match(line):
        return True
    if _CODE.match(line) or _CODE_END.search(line) or _ERROR.match(line):
        return not is_prose(line)
    return _is_dense(line)


def is_error(line: str) -> bool:
    """Return whether a stripped line is an error message, which may describe the issue if it stands alone."""
    return bool(_ERROR.match(line))


def is_form(line: str) -> bool:
    """Return whether a stripped line is a form field, a version, a checklist item, a table row or a rule."""
    if line[0] in ">|" or line.count("|") > 1 or _RULE.match(line[:LOOKED_AT]) or _CHECKBOX.match(line):
        return True
    return len(line) < 160 and (_is_field(line) or _names_a_system(line))


def _is_field(line: str) -> bool:
    """Return whether a line is a form field such as `PHP version: 8.1`, and not a sentence with a colon."""
    if _SYSTEM_FIELD.match(line):
        return True
    return len(line) < 120 and not line.endswith((".", "!", "?", ":")) and bool(_FORM_FIELD.match(line))


def _names_a_system(line: str) -> bool:
    """Return whether a line only names systems or versions: `Windows 10 64-bit, Chrome 90.0` or `2.1.0`."""
    words = line.replace(",", " ").replace("/", " ").split()
    return len(words) < 12 and all(_is_system_word(word) for word in words)


def _is_system_word(word: str) -> bool:
    bare = word.strip("()[]*_`:;.-+\u2013").lower()
    return not bare or bare in _SYSTEM_WORDS or any(character.isdigit() for character in bare)


def _is_dense(line: str) -> bool:
    """Return whether a line consists mostly of symbols and digits."""
    if "http" in line or "](" in line:
        line = _URL.sub(" ", line)
    return len(line.translate(_SYMBOLS)) < 0.7 * len(line) and not is_prose(line)


def is_prose(line: str) -> bool:
    """Return whether a line is prose: several plain words in a row, and few symbols."""
    line = line[:LOOKED_AT]
    if "http" in line or "](" in line:
        line = _URL.sub(" ", line)
    letters = len(line.translate(_SYMBOLS))
    return letters >= 0.72 * len(line) and bool(_SENTENCE.search(line)) and line.count(" ") >= 4
