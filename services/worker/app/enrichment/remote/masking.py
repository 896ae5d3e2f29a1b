"""Masks e-mail addresses and secrets in a text before it leaves this machine.

The patterns match text that looks like a secret. They cannot find every secret. All are bounded, so the time is
linear.
"""

import re

SECRET = "[secret]"  # noqa: S105 - the replacement for a secret
E_MAIL = "[e-mail]"

_NAMED = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|(?:\w{1,30}[_-])?token|credentials?"
    r"|(?:api|access|private|secret)[ _-]?key"
)

_MASKS = [
    (re.compile(r"-----BEGIN [A-Z ]{1,40}-----[A-Za-z0-9+/=\s]{0,20000}(?:-----END [A-Z ]{1,40}-----)?"), SECRET),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@:]{0,200}:[^\s/@]{1,200}@", re.IGNORECASE), rf"\1{SECRET}@"),
    (
        re.compile(
            r"\b(?:(?:sk|pk|rk)[-_][\w-]{12,400}|gh[a-z]_\w{20,400}|github_pat_\w{20,400}|gl[a-z]{2,5}-[\w-]{16,400}"
            r"|xox[a-z]-[\w-]{10,400}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,400}|(?:npm|hf|dop_v1)_\w{20,400}"
            r"|pypi-[\w-]{20,400}|eyJ[\w-]{10,2000}(?:\.[\w-]{2,4000}){1,2})"
        ),
        SECRET,
    ),
    (re.compile(r"\b(Bearer|Basic)\s{1,3}[\w+/.~-]{12,4000}=*", re.IGNORECASE), rf"\1 {SECRET}"),
    (
        re.compile(rf"\b({_NAMED})([\"']?\s{{0,3}}[:=]\s{{0,3}})[^\s,;]{{3,400}}", re.IGNORECASE),
        rf"\1\2{SECRET}",
    ),
    (re.compile(rf"\b({_NAMED}) (is|was) (?=\S{{0,80}}\d)\S{{4,400}}", re.IGNORECASE), rf"\1 \2 {SECRET}"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), E_MAIL),
    # Random-looking words: at least 32 letters and digits.
    (re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]{0,100}\d)(?=\d{0,100}[A-Za-z])[A-Za-z0-9]{32,4000}={0,2}"), SECRET),
]


def mask(text: str) -> str:
    """Return the text with probable secrets and e-mail addresses replaced."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text
