"""OpenAI's Responses API, put into chat completions and back."""
