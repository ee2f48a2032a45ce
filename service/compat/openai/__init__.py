"""OpenAI's shape of videos and webhook endpoints, for code that was written against its SDKs."""
