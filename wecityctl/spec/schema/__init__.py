"""The shape of a city's documents, as pydantic models: what may be written, kept apart from the model it becomes."""

from wecityctl.spec.schema.documents import API_VERSION, KINDS, DocumentSchema

__all__ = ["API_VERSION", "KINDS", "DocumentSchema"]
