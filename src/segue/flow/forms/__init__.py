"""Readers, one module a form: each turns a document's tree into the canonical model."""
