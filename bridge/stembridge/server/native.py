"""The compiled module, or one clear error."""

from __future__ import annotations

from typing import Any

from ..errors import NotAvailableError


def load_native() -> Any:
    """`stembridge._native`. Raises NotAvailableError with the next step."""
    try:
        from .. import _native
    except ImportError as error:
        raise NotAvailableError(
            f"The native module is not built here ({error}). Install Stembridge with pip, "
            "which builds it."
        ) from error
    return _native
