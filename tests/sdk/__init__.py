"""The published SDKs of OpenAI, unmodified, as clients of a running service."""
