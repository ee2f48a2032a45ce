"""The API as an OpenAPI 3.1 document, made from what the code itself judges and answers by."""
