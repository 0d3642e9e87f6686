"""The page that shows recordings: one HTML file without a server or a network."""

from memagents.inspection.page.document import write_page
from memagents.inspection.page.layer import Layer

__all__ = ["Layer", "write_page"]
