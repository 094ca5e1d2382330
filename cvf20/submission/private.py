"""What must not leave the group's computers: passwords, keys and tokens, known by a file's name or by what is in it."""

import re

_NAME = re.compile(
    r"credential|secret|passw|token|netrc|kaggle\.json|id_rsa|api.?key|service.?account|\.pem$|\.key$", re.IGNORECASE
)
_TEXT = re.compile(  # private keys, access keys of AWS, GitHub and Hugging Face, and user:password@ in an address
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|\bhf_\w{30,}"
    rb"|://[^/\s:@\"'<>]+:[^/\s@\"'<>]+@"
)
_NO_TEXT = (".png", ".pdf", ".pt")


def is_private(name: str, content: bytes) -> bool:
    """Whether a file looks like a credential, or holds one. name: its path inside the project."""
    return bool(_NAME.search(name) or not name.endswith(_NO_TEXT) and _TEXT.search(content))
