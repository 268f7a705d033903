"""JSON Web Tokens: the keys that check them, what a valid one says, and those that are remembered.

- `keys.py`         keys and the algorithms that each is bound to; what is refused as one
- `jwks.py`         the keys of an issuer, fetched from its URL and kept fresh
- `verifying.py`    text → what it says of who asks; pure
- `remembering.py`  what was verified once, until it expires
- `making.py`       a new one; `kept.py` the secret that is made where none is set
"""
