"""What is wrong with a receipt, a key or a bundle."""


class ReceiptError(ValueError):
    """Something is damaged, or does not fit; the message says what, and where."""


class KeyFileError(ReceiptError):
    """The file with a private key cannot be used; the message says why, and what to do."""
