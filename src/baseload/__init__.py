"""Baseload keeps DeepSeek-class models answering when the provider's servers are busy."""

__version__ = "0.1.0"
