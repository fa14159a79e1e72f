"""Anthropic's Messages API: requests and answers put into a chat's words, and back."""
